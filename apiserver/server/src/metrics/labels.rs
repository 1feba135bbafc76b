//! What requests are counted under: the row that they are about, and how.
//!
//! Invariant: a label's value is one of a fixed set (the rows of kinds, their subresources, known verbs and codes), never text of a request: what
//! clients send cannot make the process grow.
//! Follows names, labels and the choice of verbs of `staging/src/k8s.io/apiserver/pkg/endpoints/metrics/metrics.go`.

use http::{HeaderMap, Method, header};
use skiff_api::kinds::Registry;

use crate::request::{Query, RequestInfo};

/// What a request is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels {
    pub(super) group: &'static str,
    pub(super) version: &'static str,
    pub(super) resource: &'static str,
    pub(super) subresource: &'static str,
    pub(super) verb: &'static str,
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

    /// Those that all metrics of requests have, around the code or what else stands first.
    pub(super) fn text(&self, first: &str, every: bool) -> String {
        let Labels {
            group,
            version,
            resource,
            subresource,
            verb,
            scope,
            dry_run,
            client,
        } = self;
        let (dry_run, client) = match every {
            true => (
                format!("dry_run=\"{dry_run}\","),
                format!("system_client=\"{client}\","),
            ),
            false => Default::default(),
        };
        format!(
            "{first}component=\"apiserver\",{dry_run}group=\"{group}\",resource=\"{resource}\",scope=\"{scope}\",subresource=\"{subresource}\",{client}verb=\"{verb}\",version=\"{version}\""
        )
    }

    /// Whether it is a read whose answer ends.
    pub(super) fn reads(&self) -> bool {
        matches!(self.verb, "GET" | "LIST")
    }

    /// What the size of its body is counted under; `None`: it is not counted.
    pub(super) fn writes(&self) -> Option<&'static str> {
        Some(match self.verb {
            "POST" => "create",
            "PUT" => "update",
            "PATCH" | "APPLY" => "patch",
            "DELETE" if self.scope != "resource" => "delete_collection",
            "DELETE" => "delete",
            _ => return None,
        })
    }

    /// Whether it is only tried.
    pub(super) fn is_tried(&self) -> bool {
        !self.dry_run.is_empty()
    }

    /// The same, whichever program asked.
    pub(super) fn of_anybody(self) -> Labels {
        Labels { client: "", ..self }
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
