//! How many watch what: by that one knows what a write will cost after it is answered.
//!
//! Invariant: a watch is counted while it lasts. Counts are kept by the hash of what is watched, so that asking allocates nothing; that two things
//! share one is rare and does no harm, since all of it is an estimate.
//! Follows `pkg/util/flowcontrol/watch_tracker.go` of `k8s.io/apiserver`.

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::RwLock;

use crate::request::{Query, RequestInfo};

#[derive(Default)]
pub struct Watchers {
    all: AtomicUsize,
    counts: RwLock<HashMap<u64, usize>>,
}

/// One that watches, until it is dropped.
pub struct Watcher {
    of: Arc<Watchers>,
    what: u64,
}

fn what(info: &RequestInfo, namespace: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&info.group, &info.resource, namespace, name).hash(&mut hasher);
    hasher.finish()
}

/// The watch is one of a node's pods: few events are for it.
fn is_of_one_node(info: &RequestInfo, query: &Query) -> bool {
    info.resource == "pods"
        && query
            .text("fieldSelector")
            .split(',')
            .filter_map(|term| term.strip_prefix("spec.nodeName="))
            .any(|node| !node.trim_start_matches('=').is_empty())
}

impl Watchers {
    /// Counts a watch; `None`: it costs writes nothing.
    pub fn begin(self: &Arc<Watchers>, info: &RequestInfo, query: &Query) -> Option<Watcher> {
        if is_of_one_node(info, query) {
            return None;
        }
        let what = what(info, &info.namespace, &info.name);
        *self.counts.write().entry(what).or_default() += 1;
        self.all.fetch_add(1, Ordering::Relaxed);
        let of = self.clone();
        Some(Watcher { of, what })
    }

    /// How many may be told of what this request writes.
    pub fn interested(&self, info: &RequestInfo) -> usize {
        if self.all.load(Ordering::Relaxed) == 0 {
            return 0;
        }
        let counts = self.counts.read();
        let of = |namespace, name| counts.get(&what(info, namespace, name)).copied();
        let namespace = info.namespace.as_str();
        let mut found = of("", "").unwrap_or(0);
        if !namespace.is_empty() {
            found += of(namespace, "").unwrap_or(0);
        }
        if !info.name.is_empty() {
            found += of(namespace, &info.name).unwrap_or(0);
        }
        found
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.of.all.fetch_sub(1, Ordering::Relaxed);
        let mut counts = self.of.counts.write();
        if let Some(count) = counts.get_mut(&self.what) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.what);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_watches_what() {
        let watchers = Arc::<Watchers>::default();
        let read = |method: &str, path: &str, query: &Query| {
            RequestInfo::read(&method.parse().unwrap(), path, query)
        };
        let watch = |path: &str, selector: &str| {
            let query = Query::read(Some(&format!("watch=1&fieldSelector={selector}")));
            watchers.begin(&read("GET", path, &query), &query)
        };
        let interested =
            |method: &str, path: &str| watchers.interested(&read(method, path, &Query::default()));
        let of_node = "/api/v1/namespaces/a/pods/p";
        assert_eq!(interested("PUT", of_node), 0);
        let all = [
            watch("/api/v1/pods", ""),
            watch("/api/v1/namespaces/a/pods", ""),
            watch("/api/v1/namespaces/a/pods", "metadata.name=p"),
            watch("/api/v1/namespaces/b/pods", ""),
            watch("/api/v1/configmaps", ""),
            watch("/api/v1/pods", "spec.nodeName=n"),
            watch("/api/v1/pods", "spec.nodeName="),
        ];
        assert!(all[5].is_none());
        for (method, path, count) in [
            ("PUT", of_node, 4),
            ("PUT", "/api/v1/namespaces/a/pods/q", 3),
            ("POST", "/api/v1/namespaces/a/pods", 3),
            ("DELETE", "/api/v1/namespaces/c/pods/q", 2),
            ("PUT", "/apis/a/v1/namespaces/a/pods/p", 0),
        ] {
            assert_eq!(interested(method, path), count, "{method} {path}");
        }
        drop(all);
        assert_eq!(interested("PUT", of_node), 0);
        assert!(watchers.counts.read().is_empty());
    }
}
