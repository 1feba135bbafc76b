//! `/metrics` in Prometheus' text form: requests by verb, resource and code, what is in flight, and what the store holds.
//!
//! Invariant: a label's value is one of a fixed set (the rows of kinds, their subresources, known verbs and codes), never text of a request: what
//! clients send cannot make the process grow. A path that nothing serves is counted nowhere, a request that was refused for what it would be
//! counts under its row.
//! Follows names, labels and the choice of verbs of `staging/src/k8s.io/apiserver/pkg/endpoints/metrics/metrics.go`.

use std::collections::HashMap;

use http::{HeaderMap, Method, header};
use parking_lot::Mutex;
use skiff_api::kinds::Registry;
use skiff_storage::Store;

use crate::{
    flowcontrol::Places,
    request::{Query, RequestInfo},
};

/// What a request is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    group: &'static str,
    version: &'static str,
    resource: &'static str,
    subresource: &'static str,
    verb: &'static str,
    scope: &'static str,
    dry_run: &'static str,
    /// Upstream's own programs by their User-Agent; empty for all others.
    client: &'static str,
}

impl Labels {
    /// `None` for what no row serves.
    pub fn of(
        kinds: &Registry,
        info: &RequestInfo,
        method: &Method,
        query: &Query,
        headers: &HeaderMap,
    ) -> Option<Labels> {
        let kind = kinds
            .find(&info.group, &info.version, &info.resource)
            .filter(|_| info.is_resource)?;
        let subresource = match info.subresource.as_str() {
            "" => "",
            name => kind.subresource(name)?.name(),
        };
        let scope = scope(info);
        let text = |name| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("")
        };
        Some(Labels {
            group: kind.group,
            version: kind.version,
            resource: kind.plural,
            subresource,
            verb: verb(info, method, scope, text(header::CONTENT_TYPE), subresource),
            scope,
            dry_run: dry_run(query),
            client: client(text(header::USER_AGENT)),
        })
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    match () {
        () if !info.name.is_empty() || info.verb == "create" => "resource",
        () if !info.namespace.is_empty() => "namespace",
        () => "cluster",
    }
}

fn verb(
    info: &RequestInfo,
    method: &Method,
    scope: &str,
    content_type: &str,
    subresource: &str,
) -> &'static str {
    if matches!(
        subresource,
        "log" | "exec" | "portforward" | "attach" | "proxy"
    ) {
        return "CONNECT";
    }
    match method.as_str() {
        "GET" | "HEAD" if info.verb == "watch" => "WATCH",
        "GET" | "HEAD" if scope != "resource" => "LIST",
        "GET" | "HEAD" => "GET",
        "PATCH" if content_type == "application/apply-patch+yaml" => "APPLY",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        _ => "other",
    }
}

fn dry_run(query: &Query) -> &'static str {
    match () {
        () if query.get("dryRun").is_none() => "",
        () if query.all("dryRun").all(|value| value == "All") => "All",
        () => "invalid",
    }
}

fn client(agent: &str) -> &'static str {
    let name = agent.split_once('/').map_or("", |(name, _)| name);
    [
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
    ]
    .into_iter()
    .find(|known| *known == name)
    .unwrap_or("")
}

/// What has been counted since the start.
#[derive(Default)]
pub struct Metrics {
    requests: Mutex<HashMap<(Labels, u16), u64>>,
    /// What was ended to protect the server: too many requests at once, or one that took too long.
    terminations: Mutex<HashMap<(Labels, u16), u64>>,
}

impl Metrics {
    pub fn count(&self, labels: Labels, code: u16) {
        *self.requests.lock().entry((labels, code)).or_default() += 1;
    }

    pub fn terminated(&self, labels: Labels, code: u16) {
        *self.terminations.lock().entry((labels, code)).or_default() += 1;
    }
}

/// What a metric is; lines of its values follow.
fn family(text: &mut String, name: &str, kind: &str, help: &str) {
    *text += &format!("# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn counters(
    text: &mut String,
    name: &str,
    counted: &Mutex<HashMap<(Labels, u16), u64>>,
    every: bool,
) {
    let mut lines: Vec<_> = counted
        .lock()
        .iter()
        .map(|(key, count)| (*key, *count))
        .collect();
    lines.sort_unstable();
    for ((labels, code), count) in lines {
        let Labels {
            group,
            version,
            resource,
            subresource,
            verb,
            scope,
            dry_run,
            client,
        } = labels;
        let (dry_run, client) = match every {
            true => (
                format!("dry_run=\"{dry_run}\","),
                format!("system_client=\"{client}\","),
            ),
            false => Default::default(),
        };
        *text += &format!(
            "{name}{{code=\"{code}\",component=\"apiserver\",{dry_run}group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",{client}verb=\"{verb}\",version=\"{version}\"}} {count}\n"
        );
    }
}

impl Metrics {
    /// All metrics in Prometheus' text form.
    pub fn text(&self, places: &Places, store: &dyn Store) -> String {
        let mut text = String::new();
        let mut name = "apiserver_request_total";
        let help = "Requests that were answered.";
        family(&mut text, name, "counter", help);
        counters(&mut text, name, &self.requests, true);
        name = "apiserver_request_terminations_total";
        let help = "Requests that were not answered: there were too many, or their time was over.";
        family(&mut text, name, "counter", help);
        counters(&mut text, name, &self.terminations, false);
        name = "apiserver_current_inflight_requests";
        let help = "Number of requests that are being answered, per request kind.";
        family(&mut text, name, "gauge", help);
        let current = places.current();
        for (kind, count, _) in current {
            text += &format!("{name}{{request_kind=\"{kind}\"}} {count}\n");
        }
        if let Some(fair) = places.fair() {
            name = "apiserver_current_inqueue_requests";
            let help = "Number of requests that wait in queues, per request kind.";
            family(&mut text, name, "gauge", help);
            for (kind, _, count) in current {
                text += &format!("{name}{{request_kind=\"{kind}\"}} {count}\n");
            }
            text += &fair.metrics();
        }
        name = "apiserver_resource_objects";
        family(&mut text, name, "gauge", "Objects stored, by resource.");
        for resource in store.resources() {
            let (plural, group) = resource.split_once('.').unwrap_or((&resource, ""));
            let count = store.snapshot(&resource).len(None);
            text += &format!("{name}{{group=\"{group}\",resource=\"{plural}\"}} {count}\n");
        }
        name = "etcd_revision";
        family(&mut text, name, "gauge", "Newest revision of the store.");
        text + &format!("{name} {}\n", store.revision())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(
        method: &str,
        path: &str,
        query: &str,
        headers: &[(&'static str, &str)],
    ) -> Option<Labels> {
        let (method, query) = (method.parse().unwrap(), Query::read(Some(query)));
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        Labels::of(
            Registry::builtin(),
            &RequestInfo::read(&method, path, &query),
            &method,
            &query,
            &headers,
        )
    }

    #[test]
    fn verbs_and_scopes_are_upstreams() {
        for [method, path, query, media, verb, scope] in skiff_testing::table::rows(
            r#"
                GET | /api/v1/namespaces/a/pods |  |  | LIST | namespace
                GET | /api/v1/pods | watch=1 |  | WATCH | cluster
                HEAD | /api/v1/namespaces/a/pods/x |  |  | GET | resource
                POST | /api/v1/namespaces/a/pods |  |  | POST | resource
                PATCH | /api/v1/namespaces/a/pods/x |  | application/apply-patch+yaml | APPLY | resource
                DELETE | /api/v1/namespaces/a/pods |  |  | DELETE | namespace
                GET | /api/v1/namespaces/a/pods/x/exec |  |  | CONNECT | resource
                BREW | /api/v1/namespaces/a/pods/x |  |  | other | resource
            "#,
        ) {
            let found = labels(method, path, query, &[("content-type", media)]).unwrap();
            assert_eq!((found.verb, found.scope), (verb, scope), "{method} {path}");
        }
        for (query, dry_run) in [("dryRun=All", "All"), ("dryRun=x", "invalid")] {
            let found = labels("POST", "/api/v1/pods", query, &[]).unwrap();
            assert_eq!(found.dry_run, dry_run);
        }
        for (agent, client) in [("kube-scheduler/v1", "kube-scheduler"), ("somebody/v1", "")] {
            let found = labels("GET", "/api/v1/pods", "", &[("user-agent", agent)]).unwrap();
            assert_eq!(found.client, client);
        }
    }

    #[test]
    fn what_no_row_serves_has_no_labels() {
        for path in [
            "/api/v1/nonsense",
            "/apis/a/b/c",
            "/api/v1/namespaces/a/pods/x/nonsense",
            "/nonsense",
            "/api/v2/pods",
        ] {
            assert_eq!(labels("GET", path, "", &[]), None, "{path}");
        }
    }
}
