//! Which requests are let through.
//! Behaviour follows `FilterServer` of `staging/src/k8s.io/kubectl/pkg/proxy/proxy_server.go`.

use crate::error::{Error, Result};
use regex::Regex;

/// The exit status of what is fatal to the log.
const FATAL: i32 = 255;

pub struct Filter {
    accept_paths: Vec<Regex>,
    reject_paths: Vec<Regex>,
    accept_hosts: Vec<Regex>,
    reject_methods: Vec<Regex>,
}

fn patterns(text: &str) -> Result<Vec<Regex>> {
    text.split(',')
        .map(|p| {
            super::pattern::read(p).map_err(|why| {
                let why = format!("Error compiling re: {why}");
                crate::client::klog('F', "proxy_server.go:83", &why);
                Error::Exit(FATAL)
            })
        })
        .collect()
}

/// The host of a `Host` header, without its port.
fn host_of(header: &str) -> &str {
    match header.rsplit_once(':') {
        // `[::1]:8001` has a port, `::1` has none
        Some((host, _)) if host.starts_with('[') && host.ends_with(']') => {
            host.trim_start_matches('[').trim_end_matches(']')
        }
        Some((host, _)) if !host.contains(':') => host,
        _ => header,
    }
}

impl Filter {
    /// # Errors
    /// A pattern that is none.
    pub fn read(
        accept_paths: &str,
        reject_paths: &str,
        accept_hosts: &str,
        reject_methods: &str,
    ) -> Result<Filter> {
        Ok(Filter {
            accept_paths: patterns(accept_paths)?,
            reject_paths: patterns(reject_paths)?,
            accept_hosts: patterns(accept_hosts)?,
            reject_methods: patterns(reject_methods)?,
        })
    }

    /// `host`: as the header has it.
    pub fn lets(&self, method: &str, path: &str, host: &str) -> bool {
        let any = |list: &[Regex], text: &str| list.iter().any(|r| r.is_match(text));
        any(&self.accept_paths, path)
            && !any(&self.reject_paths, path)
            && any(&self.accept_hosts, host_of(host))
            && !any(&self.reject_methods, method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_accepted_passes() {
        let f = Filter::read("^.*", "^/api/.*/pods/.*/exec", "^localhost$,^::1$", "^$").unwrap();
        for (method, path, host, passes) in [
            ("GET", "/api/v1/pods", "localhost", true),
            ("GET", "/api/v1/pods", "localhost:8001", true),
            ("GET", "/api/v1/pods", "[::1]:8001", true),
            ("GET", "/api/v1/pods", "evil.example.com", false),
            (
                "POST",
                "/api/v1/namespaces/x/pods/y/exec",
                "localhost",
                false,
            ),
        ] {
            assert_eq!(f.lets(method, path, host), passes, "{path} {host}");
        }
        let f = Filter::read("^/api/", "", "^.*", "POST,PUT").unwrap();
        assert!(
            !f.lets("GET", "/api/", "a"),
            "nothing is the beginning of everything"
        );
        let f = Filter::read("^/api/", "^$", "^.*", "POST,PUT").unwrap();
        assert!(f.lets("GET", "/api/", "a") && !f.lets("PUT", "/api/", "a"));
        assert!(Filter::read("(", "^$", "^.*", "^$").is_err());
    }
}
