//! Who asks the node for what: requests by method and the first part of their path.
//!
//! Invariant: both are of fixed sets, whatever clients send.
//! Follows `ServeHTTP`, `getMetricBucket` and `getURLRootPath` in `pkg/kubelet/server/server.go`.

use std::{collections::BTreeMap, fmt::Write};

use parking_lot::Mutex;
use skiff_watching::tally::family;

const METHODS: [&str; 8] = [
    "OPTIONS", "GET", "HEAD", "POST", "PUT", "DELETE", "TRACE", "CONNECT",
];
const PATHS: [&str; 15] = [
    "attach",
    "configz",
    "containerLogs",
    "exec",
    "healthz",
    "logs",
    "metrics",
    "metrics/cadvisor",
    "metrics/probes",
    "metrics/resource",
    "pods",
    "portForward",
    "run",
    "runningpods",
    "stats",
];
/// Those whose answers go on until somebody ends them.
const LONG: [&str; 2] = ["attach", "exec"];
const OTHER: &str = "other";

/// Requests since the start.
#[derive(Default)]
pub struct Requests(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

fn one_of(known: &[&'static str], name: &str) -> &'static str {
    let found = known.iter().find(|one| **one == name);
    found.copied().unwrap_or(OTHER)
}

/// The first part of a path; of those below `/metrics` the first two.
fn root(path: &str) -> &str {
    let path = path.strip_prefix('/').unwrap_or(path);
    let parts = if path.starts_with("metrics/") { 2 } else { 1 };
    let end = path.match_indices('/').nth(parts - 1);
    end.map_or(path, |(at, _)| &path[..at])
}

impl Requests {
    pub fn count(&self, method: &str, path: &str) {
        let key = (one_of(&METHODS, method), one_of(&PATHS, root(path)));
        *self.0.lock().entry(key).or_default() += 1;
    }

    pub(super) fn text(&self, text: &mut String) {
        let name = "kubelet_http_requests_total";
        family(text, name, "counter", "Requests that the node was sent.");
        for ((method, path), count) in &*self.0.lock() {
            let long = LONG.contains(path);
            // a string takes whatever is written to it
            let _ = writeln!(
                text,
                "{name}{{long_running=\"{long}\",method=\"{method}\",path=\"{path}\",server_type=\"readwrite\"}} {count}"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_few() {
        let requests = Requests::default();
        for (method, path) in [
            ("GET", "/metrics"),
            ("GET", "/metrics/cadvisor"),
            ("GET", "/metrics/cadvisor/x"),
            ("POST", "/exec/default/p/c"),
            ("BREW", "/of-somebody/else"),
        ] {
            requests.count(method, path);
        }
        let mut text = String::new();
        requests.text(&mut text);
        let told: Vec<&str> = text.lines().skip(2).collect();
        let line = |long: bool, method: &str, path: &str, count: u32| {
            format!(
                "kubelet_http_requests_total{{long_running=\"{long}\",method=\"{method}\",path=\"{path}\",server_type=\"readwrite\"}} {count}"
            )
        };
        assert_eq!(
            told,
            [
                line(false, "GET", "metrics", 1),
                line(false, "GET", "metrics/cadvisor", 2),
                line(true, "POST", "exec", 1),
                line(false, "other", "other", 1),
            ]
        );
    }
}
