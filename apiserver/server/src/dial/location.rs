//! Where a request is handed on to: scheme, host, port, path; and how their texts are read.
//!
//! Invariant: a host is an address or a name that holds nothing else, a port is a number; a path is clean (no `..`) and escaped.
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/net/{port_split,http}.go` and Go's `path.Clean`, `net.IP.IsGlobalUnicast` and
//! `url.URL.EscapedPath`.

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use percent_encoding::utf8_percent_encode;
use rustls::{ClientConfig, pki_types::ServerName};
use skiff_api::machinery::url::{UNRESERVED, clean_keeping_slash, escape_path};

use crate::request::RequestInfo;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    pub fn port(self) -> u16 {
        if self == Scheme::Http { 80 } else { 443 }
    }

    pub fn text(self) -> &'static str {
        if self == Scheme::Http {
            "http"
        } else {
            "https"
        }
    }
}

/// How the server shows itself, and what it asks of the other side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// A node's own API: the server's certificate for nodes, and the node's is verified.
    Node,
    /// The same, but the node's certificate is not verified (`insecureSkipTLSVerifyBackend`).
    UnverifiedNode,
    /// Whatever runs in a pod or beside a node's own API: no certificate is shown, none is verified.
    Anybody,
    /// Another API server, by the name that its certificate is to hold for: the server's certificate for such, in the name of whoever asks.
    Server(Server),
}

/// How an API server behind this one is spoken to; made once, for many connections.
#[derive(Debug, Clone)]
pub struct Server {
    pub config: Arc<ClientConfig>,
    pub name: ServerName<'static>,
}

impl PartialEq for Server {
    fn eq(&self, other: &Server) -> bool {
        Arc::ptr_eq(&self.config, &other.config) && self.name == other.name
    }
}

impl Eq for Server {}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    pub scheme: Scheme,
    /// An IP address, or a node's host name.
    pub host: String,
    pub port: u16,
    /// Escaped; empty, or with a slash first.
    pub path: String,
    /// Without the question mark.
    pub query: String,
    pub via: Via,
}

impl Location {
    /// `10.0.0.1:80`, `[fd00::1]:80`.
    pub fn authority(&self) -> String {
        authority(&self.host, self.port)
    }

    /// Path and query as a request names them.
    pub fn target(&self) -> String {
        let path = if self.path.is_empty() {
            "/"
        } else {
            &self.path
        };
        if self.query.is_empty() {
            path.to_owned()
        } else {
            format!("{path}?{}", self.query)
        }
    }
}

pub fn authority(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

/// `NAME`, `NAME:PORT` or `SCHEME:NAME:PORT`; the scheme is absent, `http` or `https`.
pub fn split_id(id: &str) -> Option<(Option<Scheme>, &str, &str)> {
    let (scheme, name, port) = match id.split(':').collect::<Vec<_>>().as_slice() {
        [name] => ("", *name, ""),
        [name, port] => ("", *name, *port),
        [scheme, name, port] => (*scheme, *name, *port),
        _ => return None,
    };
    let scheme = match scheme {
        "" => None,
        "http" => Some(Scheme::Http),
        "https" => Some(Scheme::Https),
        _ => return None,
    };
    (!name.is_empty()).then_some((scheme, name, port))
}

/// What is no port, in the words of Go's when it dials.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum PortError {
    #[error("dial tcp: address {0}: invalid port")]
    Invalid(String),
    #[error("dial tcp: lookup tcp/{0}: unknown port")]
    Unknown(String),
}

/// A port that a client wrote.
pub fn port(text: &str) -> Result<u16, PortError> {
    match text.parse::<u16>() {
        Ok(port) if text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(PortError::Invalid(text.into()))
        }
        _ => Err(PortError::Unknown(text.into())),
    }
}

/// An address that a proxy may lead to: not this machine itself, nor its link, nor many.
pub fn is_global_unicast(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip == Ipv4Addr::BROADCAST,
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !(ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || link_local)
}

/// What follows `/proxy` in a request's path, as it is asked of the other side: `""`, `/a/b`, `/a/b/`.
pub fn subpath(info: &RequestInfo) -> String {
    let mut path = info.rest.clone();
    if !path.is_empty() && !path.starts_with('/') {
        path.insert(0, '/');
    }
    if info.path.ends_with('/') && !path.ends_with('/') {
        path.push('/');
    }
    match path.is_empty() {
        true => String::new(),
        false => escape_path(&clean_keeping_slash(&path)),
    }
}

/// Text as a query's key or value.
pub fn query_escaped(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED)
        .to_string()
        .replace("%20", "+")
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::request::Query;

    #[test]
    fn names_in_paths() {
        for (id, expected) in [
            ("a", Some((None, "a", ""))),
            ("a:80", Some((None, "a", "80"))),
            ("https:a:web", Some((Some(Scheme::Https), "a", "web"))),
            (":a:", Some((None, "a", ""))),
            ("ftp:a:80", None),
            ("", None),
            (":80", None),
            ("http:a:80:90", None),
            (
                "http:a:80@169.254.169.254",
                Some((Some(Scheme::Http), "a", "80@169.254.169.254")),
            ),
        ] {
            assert_eq!(split_id(id), expected, "{id}");
        }
    }

    #[test]
    fn ports_are_numbers() {
        assert_eq!(port("80"), Ok(80));
        for (text, error) in [
            (
                "80@169.254.169.254",
                "dial tcp: lookup tcp/80@169.254.169.254: unknown port",
            ),
            ("80/../x", "dial tcp: lookup tcp/80/../x: unknown port"),
            ("+80", "dial tcp: lookup tcp/+80: unknown port"),
            ("65536", "dial tcp: address 65536: invalid port"),
            (
                "99999999999999999999",
                "dial tcp: address 99999999999999999999: invalid port",
            ),
        ] {
            assert_eq!(port(text).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn addresses_that_lead_elsewhere() {
        for ip in [
            "10.0.0.1",
            "192.168.1.1",
            "8.8.8.8",
            "fd00::1",
            "2001:db8::1",
            "::ffff:10.0.0.1",
        ] {
            assert!(is_global_unicast(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "127.0.0.1",
            "127.8.0.1",
            "0.0.0.0",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fe80::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
        ] {
            assert!(!is_global_unicast(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn paths_behind_the_proxy() {
        for (path, expected) in [
            ("/api/v1/namespaces/n/pods/p/proxy", ""),
            ("/api/v1/namespaces/n/pods/p/proxy/", "/"),
            ("/api/v1/namespaces/n/pods/p/proxy/a/b", "/a/b"),
            ("/api/v1/namespaces/n/pods/p/proxy/a/b/", "/a/b/"),
            (
                "/api/v1/namespaces/proxy/pods/proxy/proxy/proxy/x",
                "/proxy/x",
            ),
            ("/api/v1/namespaces/n/pods/p/proxy/a/../../../etc", "/etc"),
            (
                "/api/v1/namespaces/n/pods/p/proxy/a/%2e%2e/%2e%2e/etc",
                "/etc",
            ),
            ("/api/v1/namespaces/n/pods/p/proxy/a%20b%3Fc", "/a%20b%3Fc"),
            ("/api/v1/nodes/n/proxy//x", "/x"),
        ] {
            let info = RequestInfo::read(&Method::GET, path, &Query::read(None));
            assert_eq!(
                (subpath(&info), info.subresource.as_str()),
                (expected.to_owned(), "proxy"),
                "{path}"
            );
        }
    }
}
