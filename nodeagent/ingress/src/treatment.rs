//! What becomes of a request by the rule that is about it: where it is sent and what is changed on its way, or the answer that it gets without.
//!
//! Invariant: pure. A path is changed as it came, escapes and all, unless the prefix that is replaced stands there only once it is resolved.
//! Follows what `apis/v1/httproute_types.go` of the Gateway API says of filters, weights and time-outs.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
    request::Parts,
    uri::{Authority, PathAndQuery},
};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{
    table::{clean, path_below},
    upstream::Upstream,
};

/// What stands in no path as it is.
const ESCAPED: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// What is changed of headers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderChanges {
    pub set: Vec<(HeaderName, HeaderValue)>,
    pub add: Vec<(HeaderName, HeaderValue)>,
    pub remove: Vec<HeaderName>,
}

impl HeaderChanges {
    pub fn apply(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.set {
            headers.insert(name, value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name, value.clone());
        }
        for name in &self.remove {
            headers.remove(name);
        }
    }
}

/// What is changed of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum PathChange {
    /// It is this one instead.
    Whole(String),
    /// Its beginning, which has no slash at its end, is another.
    Prefix { found: String, with: String },
}

impl PathChange {
    /// The path instead of one.
    pub fn apply(&self, path: &str) -> String {
        match self {
            PathChange::Whole(whole) => whole.clone(),
            PathChange::Prefix { found, with } => {
                let below = match path_below(path, found) {
                    Some(rest) => rest.to_owned(),
                    None => {
                        let clean = clean(path);
                        let rest = path_below(&clean, found).unwrap_or_default();
                        utf8_percent_encode(rest, ESCAPED).to_string()
                    }
                };
                let path = format!("{}{below}", with.trim_end_matches('/'));
                match path.is_empty() {
                    true => "/".to_owned(),
                    false => path,
                }
            }
        }
    }
}

/// What becomes of a request that is sent on, and of its answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Treatment {
    pub request: HeaderChanges,
    pub response: HeaderChanges,
    pub host: Option<Authority>,
    pub path: Option<PathChange>,
    /// How long all of it may take.
    pub limit: Option<Duration>,
    /// How long one endpoint may take for the head of its answer.
    pub patience: Option<Duration>,
}

impl Treatment {
    /// Changes the head of a request that is about to be sent.
    pub fn apply(&self, head: &mut Parts) -> Result<(), http::Error> {
        self.request.apply(&mut head.headers);
        if self.host.is_none() && self.path.is_none() {
            return Ok(());
        }
        let mut uri = std::mem::take(&mut head.uri).into_parts();
        if let Some(change) = &self.path {
            uri.path_and_query = Some(changed(uri.path_and_query.as_ref(), change)?);
        }
        if let Some(host) = &self.host {
            match &mut uri.authority {
                Some(authority) => *authority = host.clone(),
                None => {
                    let host = HeaderValue::from_str(host.as_str())?;
                    drop(head.headers.insert(http::header::HOST, host));
                }
            }
        }
        head.uri = Uri::from_parts(uri)?;
        Ok(())
    }
}

/// A path that is changed, with the query that it had.
fn changed(whole: Option<&PathAndQuery>, change: &PathChange) -> Result<PathAndQuery, http::Error> {
    let path = change.apply(whole.map_or("/", PathAndQuery::path));
    let query = whole.and_then(PathAndQuery::query);
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    Ok(format!("{path}{query}").parse()?)
}

/// Where a client is sent instead.
#[derive(Clone, Debug, PartialEq)]
pub struct Redirect {
    pub scheme: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path: Option<PathChange>,
    pub status: StatusCode,
}

impl Redirect {
    /// The location for a request that came for this host to this port, with or without TLS.
    pub fn location(&self, host: &str, port: u16, tls: bool, uri: &Uri) -> String {
        let came = if tls { "https" } else { "http" };
        let scheme = self.scheme.as_deref().unwrap_or(came);
        let usual = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let port = self.port.or(match self.scheme {
            // whoever names another scheme means its usual port
            Some(_) => usual,
            None => Some(port),
        });
        let port = port.filter(|port| Some(*port) != usual);
        let port = port.map_or_else(String::new, |port| format!(":{port}"));
        let host = self.host.as_deref().unwrap_or(host);
        let path = match &self.path {
            Some(change) => change.apply(uri.path()),
            None => uri.path().to_owned(),
        };
        let query = uri.query().map_or_else(String::new, |q| format!("?{q}"));
        format!("{scheme}://{host}{port}{path}{query}")
    }
}

/// Upstreams, each with its share of the requests.
#[derive(Default)]
pub struct Shares {
    /// With the sum of the weights up to it. None: what cannot be reached.
    upstreams: Vec<(u64, Option<Arc<Upstream>>)>,
    next: AtomicU64,
}

impl Shares {
    /// Those with the weight 0 get nothing.
    pub fn new(all: impl IntoIterator<Item = (u32, Option<Arc<Upstream>>)>) -> Self {
        let mut sum = 0;
        let all = all.into_iter().filter(|(weight, _)| *weight > 0);
        let upstreams = all.map(|(weight, upstream)| {
            sum += u64::from(weight);
            (sum, upstream)
        });
        Shares {
            upstreams: upstreams.collect(),
            next: AtomicU64::new(0),
        }
    }

    /// The upstream for the next request: in any row of requests each has about its share.
    pub fn next(&self) -> Option<Arc<Upstream>> {
        let (sum, _) = self.upstreams.last()?;
        let place = match self.upstreams.len() {
            1 => 0,
            _ => {
                // steps of the golden ratio: as even as can be for every share
                let step = self.next.fetch_add(1, Ordering::Relaxed);
                let turn = step.wrapping_mul(0x9E37_79B9_7F4A_7C15);
                let at = (u128::from(turn) * u128::from(*sum)) >> 64;
                self.upstreams
                    .partition_point(|(until, _)| u128::from(*until) <= at)
            }
        };
        self.upstreams.get(place)?.1.clone()
    }
}

/// What is done with a request.
pub enum Target {
    /// It is sent to one of these.
    Send(Shares, Treatment),
    /// The client is sent elsewhere.
    Redirect(Redirect),
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn prefixes_are_replaced_by_whole_elements() {
        let cases = [
            ("/foo/bar", "/foo", "/xyz", "/xyz/bar"),
            ("/foo/bar", "/foo", "/xyz/", "/xyz/bar"),
            ("/foo", "/foo", "/xyz", "/xyz"),
            ("/foo/", "/foo", "/xyz", "/xyz/"),
            ("/foo/bar", "/foo", "", "/bar"),
            ("/foo/", "/foo", "", "/"),
            ("/foo", "/foo", "", "/"),
            ("/foo/", "/foo", "/", "/"),
            ("/foo", "/foo", "/", "/"),
            ("/a/b", "", "/xyz", "/xyz/a/b"),
            ("/foo/b%2Fc", "/foo", "/x", "/x/b%2Fc"),
            ("/f%6Fo/b c", "/foo", "/x", "/x/b%20c"),
        ];
        for (path, found, with, wanted) in cases {
            let (found, with) = (found.to_owned(), with.to_owned());
            let told = format!("{path} {found} {with}");
            let change = PathChange::Prefix { found, with };
            assert_eq!(change.apply(path), wanted, "{told}");
        }
    }

    #[test]
    fn heads_are_changed() {
        let treatment = Treatment {
            request: HeaderChanges {
                set: vec![(HeaderName::from_static("x-a"), "2".parse().unwrap())],
                add: vec![(HeaderName::from_static("x-b"), "2".parse().unwrap())],
                remove: vec![HeaderName::from_static("x-c")],
            },
            host: Some("b.io".parse().unwrap()),
            path: Some(PathChange::Whole("/new".into())),
            ..Treatment::default()
        };
        let request = Request::builder()
            .uri("/old?q=1")
            .header("host", "a.io")
            .header("x-a", "1")
            .header("x-b", "1")
            .header("x-c", "1");
        let (mut head, ()) = request.body(()).unwrap().into_parts();
        treatment.apply(&mut head).unwrap();
        let mut found: Vec<_> = head
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        found.sort();
        assert_eq!(found, ["host: b.io", "x-a: 2", "x-b: 1", "x-b: 2"]);
        assert_eq!(head.uri, "/new?q=1");
        let request = Request::get("https://a.io:8443/old").body(()).unwrap();
        let (mut head, ()) = request.into_parts();
        treatment.apply(&mut head).unwrap();
        assert_eq!(head.uri, "https://b.io/new");
        assert!(!head.headers.contains_key("host"));
    }

    #[test]
    fn locations_name_a_port_where_it_is_not_the_usual_one() {
        let plain = Redirect {
            scheme: None,
            host: None,
            port: None,
            path: None,
            status: StatusCode::FOUND,
        };
        let https = || Some("https".to_owned());
        let cases = [
            (plain.clone(), 80, false, "http://a.io/x?y"),
            (plain.clone(), 8080, false, "http://a.io:8080/x?y"),
            (plain.clone(), 443, true, "https://a.io/x?y"),
            (
                Redirect {
                    scheme: https(),
                    ..plain.clone()
                },
                8080,
                false,
                "https://a.io/x?y",
            ),
            (
                Redirect {
                    scheme: https(),
                    port: Some(8443),
                    host: Some("b.io".into()),
                    ..plain.clone()
                },
                80,
                false,
                "https://b.io:8443/x?y",
            ),
            (
                Redirect {
                    port: Some(80),
                    path: Some(PathChange::Whole("/z".into())),
                    ..plain
                },
                8080,
                false,
                "http://a.io/z?y",
            ),
        ];
        for (redirect, port, tls, wanted) in cases {
            let uri = Uri::from_static("/x?y");
            assert_eq!(redirect.location("a.io", port, tls, &uri), wanted);
        }
    }

    #[test]
    fn each_has_its_share() {
        let of = |name: &str| Some(Arc::new(Upstream::new(name.to_owned())));
        let shares = Shares::new([(90, of("a")), (10, of("b")), (0, of("c")), (100, None)]);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..2_000 {
            let name = shares.next().map(|upstream| upstream.name.clone());
            *counts.entry(name).or_insert(0) += 1;
        }
        let wanted = [(None, 1_000_i32), (Some("a"), 900), (Some("b"), 100)];
        assert_eq!(counts.len(), wanted.len());
        for (name, count) in wanted {
            let found = counts[&name.map(str::to_owned)];
            assert!((found - count).abs() <= 10, "{name:?}: {found}");
        }
        assert!(Shares::new([(0, of("a"))]).next().is_none());
    }
}
