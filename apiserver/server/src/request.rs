//! What a request asks for, read from its method, path and query.
//!
//! Invariant: a path is taken apart in one place, the same way for authorization and for routing.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`.

use http::Method;
use percent_encoding::percent_decode_str;
use skiff_api::machinery::{gonum, status::Status};

/// A request's path and method in Kubernetes' terms.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RequestInfo {
    pub is_resource: bool,
    /// Kubernetes' verb for resources, else the method in lower case.
    pub verb: String,
    /// `api` or `apis`.
    pub prefix: String,
    pub group: String,
    pub version: String,
    pub namespace: String,
    pub resource: String,
    pub subresource: String,
    pub name: String,
    pub path: String,
    /// The name as the path has it; `name` may also come from a field selector.
    path_name: String,
    /// What follows the subresource (`proxy/a/b`).
    pub rest: String,
    /// Why no path is routed as this one is written, though it can be read.
    pub astray: Option<Astray>,
}

/// A path that has an empty part: it is authorized as if that were not there, but leads nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Astray {
    /// Outside of what the API's groups serve.
    Outside,
    /// Below one of them.
    Within,
}

/// Which part of a path is the namespace's name, where it has one.
fn namespace_place(prefix: &str) -> usize {
    if prefix == "apis" { 4 } else { 3 }
}

/// Where a path goes astray. Follows `(d director) ServeHTTP` of `staging/src/k8s.io/apiserver/pkg/server/handler.go`.
fn astray(path: &str) -> Option<Astray> {
    if !path.contains("//") {
        return None;
    }
    let trimmed = path.trim_matches('/');
    let parts: Vec<&str> = trimmed.split('/').collect();
    let empty = parts.iter().position(|part| part.is_empty());
    let namespace = namespace_place(parts[0]);
    match empty {
        _ if path.starts_with("//") => Some(Astray::Outside),
        None => None,
        _ if trimmed.is_empty() => None,
        // what is proxied is somebody else's path
        Some(at) if parts[..at].contains(&"proxy") => None,
        Some(1) if parts[0] == "apis" => Some(Astray::Outside),
        Some(_) if !matches!(parts[0], "api" | "apis") => Some(Astray::Outside),
        // a namespace without a name is all of them
        Some(at) if at == namespace && parts[at - 1] == "namespaces" => {
            parts[at + 1..].contains(&"").then_some(Astray::Within)
        }
        Some(_) => Some(Astray::Within),
    }
}

impl RequestInfo {
    pub fn read(method: &Method, path: &str, query: &Query) -> RequestInfo {
        let path = Query::decode(path, false);
        let mut info = RequestInfo {
            verb: method.as_str().to_ascii_lowercase(),
            path: path.clone(),
            ..RequestInfo::default()
        };
        info.astray = astray(&path);
        let mut parts: Vec<String> = path
            .trim_matches('/')
            .split('/')
            .map(str::to_owned)
            .collect();
        let at = namespace_place(&parts[0]);
        if parts.get(at).is_some_and(String::is_empty) && parts[at - 1] == "namespaces" {
            parts.drain(at - 1..=at);
        }
        parts.retain(|part| !part.is_empty());
        if parts.len() < 3 || !matches!(parts[0].as_str(), "api" | "apis") {
            return info;
        }
        info.prefix = parts.remove(0);
        if info.prefix == "apis" {
            if parts.len() < 3 {
                return info;
            }
            info.group = parts.remove(0);
        }
        info.is_resource = true;
        info.version = parts.remove(0);
        if matches!(parts[0].as_str(), "proxy" | "watch") {
            if parts.len() < 2 {
                info.is_resource = false;
                return info;
            }
            info.verb = parts.remove(0);
        } else {
            info.verb = match method.as_str() {
                "POST" => "create".into(),
                "GET" | "HEAD" => "get".into(),
                "PUT" => "update".into(),
                "PATCH" => "patch".into(),
                "DELETE" => "delete".into(),
                _ => String::new(),
            };
        }
        if parts[0] == "namespaces" && parts.len() > 1 {
            info.namespace = parts[1].clone();
            // `namespaces/x` and its own subresources are about the namespace, anything longer lies within it
            if parts.len() > 2 && !matches!(parts[2].as_str(), "status" | "finalize") {
                parts.drain(..2);
            }
        }
        let mut parts = parts.into_iter();
        info.resource = parts.next().unwrap_or_default();
        info.name = parts.next().unwrap_or_default();
        info.path_name = info.name.clone();
        info.subresource = parts.next().unwrap_or_default();
        info.rest = parts.collect::<Vec<_>>().join("/");
        if info.resource == "namespaces" && info.group.is_empty() {
            info.namespace = info.name.clone();
        }
        if info.name.is_empty() && info.verb == "get" {
            info.verb = if query.flag("watch") { "watch" } else { "list" }.into();
        }
        if info.name.is_empty() && info.verb == "delete" {
            info.verb = "deletecollection".into();
        }
        // a list or watch of one object by its name is authorized as being about that name
        if matches!(info.verb.as_str(), "list" | "watch" | "deletecollection")
            && info.name.is_empty()
            && let Some(name) = query.get("fieldSelector").and_then(|selector| {
                selector
                    .split(',')
                    .find_map(|term| term.strip_prefix("metadata.name="))
            })
        {
            info.name = name.trim_start_matches('=').into();
        }
        info
    }

    /// What the server does by itself.
    pub fn own() -> RequestInfo {
        RequestInfo {
            verb: "create".into(),
            ..RequestInfo::default()
        }
    }

    /// The name in the path, empty for collections.
    pub fn name_in_path(&self) -> &str {
        &self.path_name
    }
}

/// The query's parameters in order.
#[derive(Debug, Clone, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn read(text: Option<&str>) -> Query {
        // Go leaves out what it cannot read
        let readable =
            |pair: &&str| !pair.is_empty() && !pair.contains(';') && Query::is_escaped_well(pair);
        let pairs = text.unwrap_or("").split('&').filter(readable);
        Query(
            pairs
                .map(|pair| {
                    let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
                    (Query::decode(key, true), Query::decode(value, true))
                })
                .collect(),
        )
    }

    /// Each `%` is the start of an escape.
    pub fn is_escaped_well(text: &str) -> bool {
        let mut escapes = text.split('%');
        escapes.next();
        escapes.all(|after| {
            let digits = after.as_bytes().iter().take(2);
            digits.filter(|digit| digit.is_ascii_hexdigit()).count() == 2
        })
    }

    pub fn decode(text: &str, plus: bool) -> String {
        let spaced = if plus {
            text.replace('+', " ")
        } else {
            text.to_owned()
        };
        percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
    }

    /// The first value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    pub fn all<'q>(&'q self, key: &'q str) -> impl Iterator<Item = &'q str> {
        self.0
            .iter()
            .filter(move |(k, _)| k == key)
            .map(|(_, v)| v.as_str())
    }

    pub fn text(&self, key: &str) -> &str {
        self.get(key).unwrap_or("")
    }

    /// Go's reading of a boolean parameter: anything but `false` and `0` is true when it is given.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key)
            .is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// An integer parameter.
    pub fn integer(&self, key: &str) -> Result<Option<i64>, Status> {
        self.get(key)
            .map(gonum::int64)
            .transpose()
            .map_err(Status::bad_request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_escape_stays() {
        let cases = [
            ("a%20b+c", "a b c"),
            ("%C3%A4%2B", "ä+"),
            ("%", "%"),
            ("%4", "%4"),
            ("%zz", "%zz"),
            ("%+f", "% f"),
            ("%2", "%2"),
        ];
        for (text, want) in cases {
            assert_eq!(Query::decode(text, true), want, "{text}");
        }
        assert_eq!(Query::decode("%+f+%2B", false), "%+f++");
    }

    #[test]
    fn what_cannot_be_read_of_a_query_is_left_out() {
        let query = Query::read(Some("a=%zz&b=1&c;d=2&%=3&e=%41"));
        let found = ["a", "b", "c;d", "%", "e"].map(|key| query.get(key));
        assert_eq!(found, [None, Some("1"), None, None, Some("A")]);
    }

    #[test]
    fn paths() {
        let read = |method: Method, path: &str, query: &str| {
            RequestInfo::read(&method, path, &Query::read(Some(query)))
        };
        for [
            method,
            path,
            query,
            verb,
            group,
            namespace,
            resource,
            name,
            sub,
        ] in skiff_testing::table::rows(
            r#"
                GET | /api/v1/pods |  | list |  |  | pods |  |
                GET | /api/v1/namespaces/a/pods | watch=true | watch |  | a | pods |  |
                GET | /apis/apps/v1/namespaces/a/deployments/d/scale |  | get | apps | a | deployments | d | scale
                PUT | /api/v1/namespaces/a/finalize |  | update |  | a | namespaces | a | finalize
                GET | /api/v1/namespaces/a |  | get |  | a | namespaces | a |
                DELETE | /api/v1/namespaces/a/pods |  | deletecollection |  | a | pods |  |
                GET | /api/v1/watch/pods |  | watch |  |  | pods |  |
                POST | /api/v1/namespaces/a/pods/p/exec |  | create |  | a | pods | p | exec
            "#,
        ) {
            let info = read(method.parse().unwrap(), path, query);
            assert!(info.is_resource, "{path}");
            assert_eq!(
                (
                    &*info.verb,
                    &*info.group,
                    &*info.namespace,
                    &*info.resource,
                    &*info.name,
                    &*info.subresource
                ),
                (verb, group, namespace, resource, name, sub),
                "{path}"
            );
        }
        for (path, found) in [
            ("//api/v1/namespaces", Some(Astray::Outside)),
            ("//healthz", Some(Astray::Outside)),
            ("/apis//apps/v1/deployments", Some(Astray::Outside)),
            ("/apis/apps//v1/deployments", Some(Astray::Within)),
            ("/api//v1/namespaces", Some(Astray::Within)),
            ("/api/v1/namespaces/a//configmaps", Some(Astray::Within)),
            ("/api/v1/namespaces/a/configmaps//", None),
            ("/api/v1/namespaces//configmaps", None),
            ("/api/v1/namespaces//configmaps//x", Some(Astray::Within)),
            ("/api/v1/namespaces/a/services/b/proxy//c//d", None),
            ("/", None),
        ] {
            assert_eq!(read(Method::GET, path, "").astray, found, "{path}");
        }
        let all = read(Method::GET, "/api/v1/namespaces//configmaps", "");
        assert_eq!(
            (&*all.namespace, &*all.resource, &*all.verb),
            ("", "configmaps", "list")
        );
        let proxied = read(Method::GET, "/api/v1/namespaces/a/services/b/proxy//c", "");
        assert_eq!(
            (&*proxied.name, &*proxied.subresource, &*proxied.rest),
            ("b", "proxy", "c")
        );
        for path in [
            "/",
            "/api",
            "/api/v1",
            "/apis/apps/v1",
            "/healthz",
            "/version",
        ] {
            assert!(!read(Method::GET, path, "").is_resource, "{path}");
        }
    }
}
