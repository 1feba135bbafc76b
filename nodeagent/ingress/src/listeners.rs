//! The listeners of gateways: which of them a request comes to, and which of its rules is about it. They know nothing of the kinds that they are made of.
//!
//! Invariant: pure. Of several listeners at a port the one that names the host most precisely has the request, and no other. Of its rules those of the most precise
//! host come first, then an exact path, a pattern, the longest prefix, one that names a method, more headers, more parameters; of equal ones the first that was
//! put in. Follows what `apis/v1/httproute_types.go` of the Gateway API says of precedence.

use std::{borrow::Cow, cmp::Reverse, collections::HashMap};

use http::{HeaderMap, HeaderName, Method};
use percent_encoding::percent_decode_str;
use regex::Regex;

use super::table::{HostMatch, path_below};

/// Hosts as gateways and their routes name them: a wildcard stands for one label more before it, or for several.
impl HostMatch {
    /// Whether a host, in lower case, is one of them.
    pub fn has(&self, host: &str) -> bool {
        match self {
            HostMatch::Any => true,
            HostMatch::Exact(own) => own == host,
            HostMatch::Wildcard(rest) => is_below(host, rest),
        }
    }

    /// Those that are both these and those.
    pub fn common(&self, other: &HostMatch) -> Option<HostMatch> {
        match (self, other) {
            (HostMatch::Any, some) | (some, HostMatch::Any) => Some(some.clone()),
            (HostMatch::Exact(host), all) | (all, HostMatch::Exact(host)) => {
                all.has(host).then(|| HostMatch::Exact(host.clone()))
            }
            (HostMatch::Wildcard(a), HostMatch::Wildcard(b)) if a == b || is_below(a, b) => {
                Some(self.clone())
            }
            (HostMatch::Wildcard(a), HostMatch::Wildcard(b)) => {
                is_below(b, a).then(|| other.clone())
            }
        }
    }

    /// The most precise first.
    fn rank(&self) -> (u8, Reverse<usize>) {
        match self {
            HostMatch::Exact(_) => (0, Reverse(0)),
            HostMatch::Wildcard(rest) => (1, Reverse(rest.len())),
            HostMatch::Any => (2, Reverse(0)),
        }
    }
}

fn is_below(host: &str, rest: &str) -> bool {
    let label = host
        .strip_suffix(rest)
        .and_then(|before| before.strip_suffix('.'));
    label.is_some_and(|label| !label.is_empty())
}

/// The entry for a host among those of several.
pub fn most_precise<'a, T>(
    all: impl IntoIterator<Item = (&'a HostMatch, T)>,
    host: &str,
) -> Option<(&'a HostMatch, T)> {
    let mut fitting: Option<(&'a HostMatch, T)> = None;
    for (hosts, of) in all {
        let better = fitting
            .as_ref()
            .is_none_or(|(best, _)| hosts.rank() < best.rank());
        if better && hosts.has(host) {
            fitting = Some((hosts, of));
        }
    }
    fitting
}

/// What a header or a parameter is to say.
#[derive(Clone, Debug)]
pub enum Text {
    Exact(String),
    /// The whole of it.
    Pattern(Regex),
}

/// A pattern for the whole of a text.
pub fn pattern(text: &str) -> Result<Regex, regex::Error> {
    Regex::new(&format!("^(?:{text})$"))
}

impl Text {
    fn fits(&self, text: &str) -> bool {
        match self {
            Text::Exact(own) => own == text,
            Text::Pattern(pattern) => pattern.is_match(text),
        }
    }
}

/// Which paths a rule is about.
#[derive(Clone, Debug)]
pub enum Paths {
    Exact(String),
    /// This one and all below it, by whole elements; without a slash at its end, so that `/` is empty.
    Prefix(String),
    Pattern(Regex),
}

impl Paths {
    fn has(&self, path: &str) -> bool {
        match self {
            Paths::Exact(own) => own == path,
            Paths::Prefix(prefix) => path_below(path, prefix).is_some(),
            Paths::Pattern(pattern) => pattern.is_match(path),
        }
    }

    fn rank(&self) -> (u8, Reverse<usize>) {
        match self {
            Paths::Exact(_) => (0, Reverse(0)),
            Paths::Pattern(pattern) => (1, Reverse(pattern.as_str().len())),
            Paths::Prefix(prefix) => (2, Reverse(prefix.len())),
        }
    }
}

/// Which requests a rule is about, but for their hosts.
#[derive(Clone, Debug)]
pub struct Match {
    pub paths: Paths,
    pub method: Option<Method>,
    pub headers: Vec<(HeaderName, Text)>,
    pub parameters: Vec<(String, Text)>,
}

/// What is looked at of a request.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// As [`super::table::clean`] makes it.
    pub path: &'a str,
    pub query: &'a str,
    pub method: &'a Method,
    pub headers: &'a HeaderMap,
}

impl Asked<'_> {
    /// Values of the same header are one, divided by commas.
    fn header(&self, name: &HeaderName) -> Option<String> {
        let values = self.headers.get_all(name).into_iter();
        let values: Vec<_> = values
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        (!values.is_empty()).then(|| values.join(","))
    }

    /// The first parameter of this name.
    fn parameter(&self, name: &str) -> Option<String> {
        let mut all = self.query.split('&').map(|one| {
            let (name, value) = one.split_once('=').unwrap_or((one, ""));
            (unescaped(name), value)
        });
        let (_, value) = all.find(|(found, _)| found == name)?;
        Some(unescaped(value).into_owned())
    }
}

/// As forms are written.
fn unescaped(text: &str) -> Cow<'_, str> {
    match text.contains('+') {
        false => percent_decode_str(text).decode_utf8_lossy(),
        true => {
            let spaced = text.replace('+', " ");
            Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
        }
    }
}

impl Match {
    fn fits(&self, asked: &Asked<'_>) -> bool {
        let says =
            |found: Option<String>, text: &Text| found.is_some_and(|found| text.fits(&found));
        self.paths.has(asked.path)
            && self.method.as_ref().is_none_or(|own| own == asked.method)
            && self
                .headers
                .iter()
                .all(|(name, text)| says(asked.header(name), text))
            && self
                .parameters
                .iter()
                .all(|(name, text)| says(asked.parameter(name), text))
    }

    fn rank(&self) -> impl Ord + use<> {
        (
            self.paths.rank(),
            self.method.is_none(),
            Reverse(self.headers.len()),
            Reverse(self.parameters.len()),
        )
    }
}

/// A listener with the rules of all its routes.
#[derive(Clone, Debug)]
pub struct Listener<T> {
    hosts: HostMatch,
    /// By hosts, the most precise first.
    rules: Vec<(HostMatch, Vec<(Match, T)>)>,
}

impl<T> Listener<T> {
    pub fn new(hosts: HostMatch) -> Self {
        Listener {
            hosts,
            rules: Vec::new(),
        }
    }

    /// Adds a rule for those of the listener's hosts.
    pub fn add(&mut self, hosts: HostMatch, of: Match, to: T) {
        let place = match self.rules.iter().position(|(own, _)| *own == hosts) {
            Some(place) => place,
            None => {
                let rank = hosts.rank();
                let place = self.rules.partition_point(|(own, _)| own.rank() <= rank);
                self.rules.insert(place, (hosts, Vec::new()));
                place
            }
        };
        let rules = &mut self.rules[place].1;
        let rank = of.rank();
        let place = rules.partition_point(|(before, _)| before.rank() <= rank);
        rules.insert(place, (of, to));
    }

    /// Where a request goes; none where no rule is about it.
    pub fn find(&self, host: &str, asked: &Asked<'_>) -> Option<&T> {
        let about = self.rules.iter().filter(|(hosts, _)| hosts.has(host));
        let mut rules = about.flat_map(|(_, rules)| rules);
        rules
            .find(|(of, _)| of.fits(asked))
            .map(|(_, target)| target)
    }
}

/// The listeners by their ports.
#[derive(Clone, Debug)]
pub struct Listeners<T>(HashMap<u16, Vec<Listener<T>>>);

impl<T> Default for Listeners<T> {
    fn default() -> Self {
        Listeners(HashMap::new())
    }
}

impl<T> Listeners<T> {
    /// Adds a listener at a port.
    pub fn add(&mut self, port: u16, listener: Listener<T>) {
        self.0.entry(port).or_default().push(listener);
    }

    /// The listener that a request comes to, and whether it names hosts.
    pub fn find(&self, port: u16, host: &str) -> Option<(&Listener<T>, bool)> {
        let all = self.0.get(&port)?.iter();
        let (hosts, listener) = most_precise(all.map(|one| (&one.hosts, one)), host)?;
        Some((listener, *hosts != HostMatch::Any))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prefix(path: &str) -> Match {
        Match {
            paths: Paths::Prefix(path.trim_end_matches('/').to_owned()),
            method: None,
            headers: Vec::new(),
            parameters: Vec::new(),
        }
    }

    fn exact(path: &str) -> Match {
        Match {
            paths: Paths::Exact(path.to_owned()),
            ..prefix("/")
        }
    }

    #[test]
    fn hosts_in_common() {
        let cases = [
            ("", "", Some("")),
            ("", "a.io", Some("a.io")),
            ("a.io", "", Some("a.io")),
            ("a.io", "A.io", Some("a.io")),
            ("a.io", "b.io", None),
            ("*.io", "a.io", Some("a.io")),
            ("a.b.io", "*.io", Some("a.b.io")),
            ("*.io", "io", None),
            ("*.io", "*.b.io", Some("*.b.io")),
            ("*.b.io", "*.io", Some("*.b.io")),
            ("*.b.io", "*.c.io", None),
            ("*.b.io", "*.b.io", Some("*.b.io")),
            ("*.b.io", "*.ab.io", None),
        ];
        for (one, other, wanted) in cases {
            let found = HostMatch::parse(one).common(&HostMatch::parse(other));
            assert_eq!(found, wanted.map(HostMatch::parse), "{one} and {other}");
        }
    }

    #[test]
    fn the_most_precise_listener_has_the_request_alone() {
        let mut all = Listeners::default();
        for (host, to) in [("", 1), ("*.io", 2), ("*.b.io", 3), ("a.b.io", 4)] {
            let mut listener = Listener::new(HostMatch::parse(host));
            listener.add(HostMatch::parse(host), prefix("/x"), to);
            all.add(80, listener);
        }
        let headers = HeaderMap::new();
        let find = |port, host, path| {
            let asked = Asked {
                path,
                query: "",
                method: &Method::GET,
                headers: &headers,
            };
            let (listener, names) = all.find(port, host)?;
            Some((listener.find(host, &asked).copied(), names))
        };
        assert_eq!(find(80, "a.b.io", "/x"), Some((Some(4), true)));
        assert_eq!(find(80, "c.b.io", "/x/y"), Some((Some(3), true)));
        assert_eq!(find(80, "d.c.b.io", "/x"), Some((Some(3), true)));
        assert_eq!(find(80, "c.io", "/x"), Some((Some(2), true)));
        assert_eq!(find(80, "io", "/x"), Some((Some(1), false)));
        // no other listener, though one of any host has a rule
        assert_eq!(find(80, "a.b.io", "/y"), Some((None, true)));
        assert_eq!(find(81, "a.b.io", "/x"), None);
    }

    #[test]
    fn rules_in_their_order() {
        let mut listener = Listener::new(HostMatch::Any);
        let get = || Match {
            method: Some(Method::GET),
            ..prefix("/a")
        };
        let header = |text| Match {
            headers: vec![(HeaderName::from_static("x-v"), text)],
            ..prefix("/a")
        };
        let two = Match {
            parameters: vec![("q".into(), Text::Exact("1 2".into()))],
            ..header(Text::Exact("1".into()))
        };
        let any = || HostMatch::Any;
        listener.add(any(), prefix("/"), "root");
        listener.add(any(), prefix("/a"), "prefix");
        listener.add(any(), prefix("/a/"), "a second of the same");
        listener.add(any(), prefix("/a/b"), "longer");
        listener.add(any(), exact("/a/b"), "exact");
        listener.add(any(), header(Text::Exact("1".into())), "header");
        listener.add(any(), header(Text::Pattern(pattern("2+").unwrap())), "2s");
        listener.add(any(), two, "header and parameter");
        listener.add(any(), get(), "get");
        let by_pattern = Match {
            paths: Paths::Pattern(pattern("/a/[0-9]+").unwrap()),
            ..prefix("/")
        };
        listener.add(any(), by_pattern, "pattern");
        listener.add(HostMatch::parse("h.io"), prefix("/"), "host");
        let cases: [(&str, Method, &str, &str, &str); 15] = [
            ("", Method::PUT, "/", "", "root"),
            ("", Method::PUT, "/b", "", "root"),
            ("", Method::PUT, "/a", "", "prefix"),
            ("", Method::PUT, "/a/", "", "prefix"),
            ("", Method::PUT, "/ab", "", "root"),
            ("", Method::PUT, "/a/b/c", "", "longer"),
            ("", Method::PUT, "/a/b", "", "exact"),
            ("", Method::PUT, "/a/77", "", "pattern"),
            ("", Method::PUT, "/a/77/8", "", "prefix"),
            ("", Method::GET, "/a", "", "get"),
            ("", Method::PUT, "/a", "1", "header"),
            ("", Method::PUT, "/a", "22", "2s"),
            ("", Method::PUT, "/a", "23", "prefix"),
            ("", Method::GET, "/a", "1", "get"),
            ("h.io", Method::GET, "/a/b", "", "host"),
        ];
        for (host, method, path, value, wanted) in cases {
            let mut headers = HeaderMap::new();
            if !value.is_empty() {
                headers.insert("x-v", value.parse().unwrap());
            }
            let mut asked = Asked {
                path,
                query: "",
                method: &method,
                headers: &headers,
            };
            let found = listener.find(host, &asked);
            assert_eq!(found, Some(&wanted), "{host} {method} {path} {value}");
            asked.query = "p=1&q=1+2&q=3";
            if wanted == "header" {
                assert_eq!(listener.find(host, &asked), Some(&"header and parameter"));
            }
        }
    }
}
