//! The routing table: which hosts and paths lead where. It knows nothing of the kinds that routes are made of, and `T` is whatever they lead to.
//!
//! Invariant: pure. A host that has rules of its own is served by these alone, then by what stands for the host, then by the default. Of two rules for one
//! host and path the first that was put in stays. Follows `staging/src/k8s.io/api/networking/v1/types.go` upstream.

use std::{borrow::Cow, collections::HashMap};

/// Which hosts a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostMatch {
    /// All that no other names.
    Any,
    /// In lower case.
    Exact(String),
    /// What follows `*.`, in lower case. In a table of hosts and paths: one more label before it, no more and no less.
    Wildcard(String),
}

impl HostMatch {
    /// From the API's spelling; an empty text is any host.
    pub fn parse(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        match text.strip_prefix("*.") {
            Some(rest) => HostMatch::Wildcard(rest.to_owned()),
            None if text.is_empty() => HostMatch::Any,
            None => HostMatch::Exact(text),
        }
    }
}

/// Which paths of a host a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum PathMatch {
    /// This one alone.
    Exact(String),
    /// This one and all below it, by whole elements; without a slash at its end, so that `/` is empty.
    Prefix(String),
    /// What nothing else is about.
    Rest,
}

impl PathMatch {
    /// All paths below one; a slash at its end says nothing.
    pub fn prefix(path: &str) -> Self {
        PathMatch::Prefix(path.trim_end_matches('/').to_owned())
    }
}

/// The rules of one host.
#[derive(Clone, Debug)]
struct Paths<T> {
    exact: HashMap<String, T>,
    prefixes: HashMap<String, T>,
    rest: Option<T>,
}

impl<T> Default for Paths<T> {
    fn default() -> Self {
        Paths {
            exact: HashMap::new(),
            prefixes: HashMap::new(),
            rest: None,
        }
    }
}

impl<T> Paths<T> {
    /// The place of a rule that is there already.
    fn get(&self, path: &PathMatch) -> Option<&T> {
        match path {
            PathMatch::Exact(path) => self.exact.get(path),
            PathMatch::Prefix(path) => self.prefixes.get(path),
            PathMatch::Rest => self.rest.as_ref(),
        }
    }

    fn put(&mut self, path: PathMatch, to: T) {
        match path {
            PathMatch::Exact(path) => drop(self.exact.insert(path, to)),
            PathMatch::Prefix(path) => drop(self.prefixes.insert(path, to)),
            PathMatch::Rest => self.rest = Some(to),
        }
    }

    /// An exact rule, else the longest prefix, else what stands for the rest.
    fn find(&self, path: &str) -> Option<&T> {
        if let Some(found) = self.exact.get(path) {
            return Some(found);
        }
        self.longest(path).or(self.rest.as_ref())
    }

    fn longest(&self, path: &str) -> Option<&T> {
        if self.prefixes.is_empty() {
            return None;
        }
        let mut left = path.trim_end_matches('/');
        loop {
            if let Some(found) = self.prefixes.get(left) {
                return Some(found);
            }
            left = &left[..left.rfind('/')?];
        }
    }
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Table<T> {
    exact: HashMap<String, Paths<T>>,
    wildcards: HashMap<String, Paths<T>>,
    any: Paths<T>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table {
            exact: HashMap::new(),
            wildcards: HashMap::new(),
            any: Paths::default(),
        }
    }
}

impl<T> Table<T> {
    fn host(&self, host: &HostMatch) -> Option<&Paths<T>> {
        match host {
            HostMatch::Any => Some(&self.any),
            HostMatch::Exact(host) => self.exact.get(host),
            HostMatch::Wildcard(rest) => self.wildcards.get(rest),
        }
    }

    /// What a rule for the same host and path leads to.
    pub fn taken(&self, host: &HostMatch, path: &PathMatch) -> Option<&T> {
        self.host(host)?.get(path)
    }

    /// Adds a rule; where there is one for the same host and path, that stays, and the answer is false.
    pub fn add(&mut self, host: HostMatch, path: PathMatch, to: T) -> bool {
        if self.taken(&host, &path).is_some() {
            return false;
        }
        let paths = match host {
            HostMatch::Any => &mut self.any,
            HostMatch::Exact(host) => self.exact.entry(host).or_default(),
            HostMatch::Wildcard(rest) => self.wildcards.entry(rest).or_default(),
        };
        paths.put(path, to);
        true
    }

    /// The rules of a host that has rules of its own.
    fn own(&self, host: &str) -> Option<&Paths<T>> {
        self.exact.get(host).or_else(|| {
            let (label, rest) = host.split_once('.')?;
            self.wildcards.get(rest).filter(|_| !label.is_empty())
        })
    }

    /// Whether a host has rules of its own.
    pub fn names(&self, host: &str) -> bool {
        self.own(host).is_some()
    }

    /// Where a request goes. `host` is [`host_of`] what the request says, `path` is [`clean`].
    pub fn find(&self, host: &str, path: &str) -> Option<&T> {
        match self.own(host) {
            Some(paths) => paths.find(path).or(self.any.rest.as_ref()),
            None => self.any.find(path),
        }
    }
}

/// What a path has below a prefix, which has no slash at its end; none where it is not below it by whole elements. Whether a path ends with a slash says nothing.
pub fn path_below<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// The host of a `Host` header or an authority: without its port and the dot at its end, in lower case.
pub fn host_of(authority: &str) -> Cow<'_, str> {
    let host = match authority.rfind(':') {
        // an address of IPv6 is in brackets
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// The path as whoever serves it will understand it: escapes of what needs none undone, empty elements, `.` and `..` resolved. So no rule for `/public`
/// leads to `/private`, however that is written.
pub fn clean(path: &str) -> Cow<'_, str> {
    if !path.contains('%') && !path.contains("//") && !path.contains("/.") {
        return Cow::Borrowed(path);
    }
    let decoded = percent_encoding::percent_decode_str(path).decode_utf8_lossy();
    let mut elements: Vec<&str> = Vec::new();
    for element in decoded.split('/') {
        match element {
            "" | "." => {}
            ".." => drop(elements.pop()),
            element => elements.push(element),
        }
    }
    let mut clean = format!("/{}", elements.join("/"));
    let folder = ["/", "/.", "/.."].iter().any(|end| decoded.ends_with(end));
    if folder && clean.len() > 1 {
        clean.push('/');
    }
    Cow::Owned(clean)
}
