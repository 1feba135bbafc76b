//! What a refused request is told.
//!
//! Invariant: the text names nothing that the request did not name itself, besides the authorizers' reasons.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go` and `NewForbidden` of apimachinery.

use serde_json::{Value, json};

use super::quote;
use crate::auth::Attributes;

/// A refusal: what is to become a `Status` of code 403.
#[derive(Clone, Debug, PartialEq)]
pub struct Forbidden {
    pub message: String,
    pub group: String,
    /// The plural, which `details.kind` bears.
    pub resource: String,
    pub name: String,
}

impl Forbidden {
    /// `pods "a" is forbidden: WHY`.
    pub fn new(group: &str, resource: &str, name: &str, why: &str) -> Forbidden {
        let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let message = match (resource, name) {
            ("", _) => format!("forbidden: {why}"),
            (_, "") => format!("{qualified} is forbidden: {why}"),
            _ => format!("{qualified} {} is forbidden: {why}", quote(name)),
        };
        Forbidden { message, group: group.to_owned(), resource: resource.to_owned(), name: name.to_owned() }
    }

    /// The `Status` object.
    pub fn status(&self) -> Value {
        let details: serde_json::Map<String, Value> = [("name", &self.name), ("group", &self.group), ("kind", &self.resource)]
            .into_iter()
            .filter(|(_, value)| !value.is_empty())
            .map(|(key, value)| (key.to_owned(), json!(value)))
            .collect();
        json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "message": self.message,
               "reason": "Forbidden", "details": details, "code": 403})
    }
}

/// The refusal of a request for an authorizer's `reason` (may be empty).
pub fn forbidden(attributes: &Attributes, reason: &str) -> Forbidden {
    let user = quote(&attributes.user.name);
    let verb = &attributes.verb;
    let text = if attributes.resource_request {
        let scope = match attributes.namespace.is_empty() {
            true => "at the cluster scope".to_owned(),
            false => format!("in the namespace {}", quote(&attributes.namespace)),
        };
        let (resource, group) = (quote(&attributes.combined_resource()), quote(&attributes.group));
        format!("User {user} cannot {verb} resource {resource} in API group {group} {scope}")
    } else {
        format!("User {user} cannot {verb} path {}", quote(&attributes.path))
    };
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let why = if reason.is_empty() { text } else { format!("{text}: {reason}") };
    match attributes.resource_request {
        true => Forbidden::new(&attributes.group, &attributes.resource, &attributes.name, &why),
        false => Forbidden::new("", "", "", &why),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::auth::User;

    #[test]
    fn refusals_read_as_upstreams() {
        let attributes = |verb: &str, group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| Attributes {
            user: Arc::new(User::new("bob", &[])),
            verb: verb.into(),
            resource_request: true,
            group: group.into(),
            resource: resource.into(),
            subresource: subresource.into(),
            namespace: namespace.into(),
            name: name.into(),
            ..Attributes::default()
        };
        let table = [
            (attributes("list", "", "pods", "", "default", ""), "", r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default""#),
            (attributes("get", "", "nodes", "", "", "x"), "", r#"nodes "x" is forbidden: User "bob" cannot get resource "nodes" in API group "" at the cluster scope"#),
            (
                attributes("get", "apps", "deployments", "scale", "a", "x"),
                "why",
                r#"deployments.apps "x" is forbidden: User "bob" cannot get resource "deployments/scale" in API group "apps" in the namespace "a": why"#,
            ),
            (
                Attributes { user: Arc::new(User::new("b<b", &[])), verb: "get".into(), path: "/x&y".into(), ..Attributes::default() },
                "",
                r#"forbidden: User "b&lt;b" cannot get path "/x&amp;y""#,
            ),
        ];
        for (attributes, reason, expected) in table {
            assert_eq!(forbidden(&attributes, reason).message, expected);
        }
        let status = forbidden(&attributes("get", "apps", "deployments", "", "a", "x"), "").status();
        assert_eq!(status["details"], json!({"name": "x", "group": "apps", "kind": "deployments"}));
        assert_eq!(forbidden(&Attributes::default(), "").status()["details"], json!({}));
    }
}
