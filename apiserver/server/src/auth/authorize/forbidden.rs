//! What a refused request is told.
//!
//! Invariant: the text names nothing that the request did not name itself, besides the authorizers' reasons.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go` for its text.

use skiff_api::machinery::status::Status;

use crate::auth::Attributes;
use crate::auth::text::quote;

/// The refusal of a request for an authorizer's `reason` (may be empty).
pub fn forbidden(attributes: &Attributes, reason: &str) -> Status {
    let user = quote(&attributes.user.name);
    let verb = &attributes.verb;
    let text = if attributes.resource_request {
        let scope = match attributes.namespace.is_empty() {
            true => "at the cluster scope".to_owned(),
            false => format!("in the namespace {}", quote(&attributes.namespace)),
        };
        let (resource, group) = (
            quote(&attributes.combined_resource()),
            quote(&attributes.group),
        );
        format!("User {user} cannot {verb} resource {resource} in API group {group} {scope}")
    } else {
        format!("User {user} cannot {verb} path {}", quote(&attributes.path))
    };
    let text = text
        .replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let why = if reason.is_empty() {
        text
    } else {
        format!("{text}: {reason}")
    };
    match attributes.resource_request {
        true => Status::forbidden(
            &attributes.group,
            &attributes.resource,
            &attributes.name,
            &why,
        ),
        false => Status::forbidden("", "", "", &why),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::auth::User;

    #[test]
    fn refusals_read_as_upstreams() {
        let attributes = |verb: &str,
                          group: &str,
                          resource: &str,
                          subresource: &str,
                          namespace: &str,
                          name: &str| Attributes {
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
            (
                attributes("list", "", "pods", "", "default", ""),
                "",
                r#"pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default""#,
            ),
            (
                attributes("get", "", "nodes", "", "", "x"),
                "",
                r#"nodes "x" is forbidden: User "bob" cannot get resource "nodes" in API group "" at the cluster scope"#,
            ),
            (
                attributes("get", "apps", "deployments", "scale", "a", "x"),
                "why",
                r#"deployments.apps "x" is forbidden: User "bob" cannot get resource "deployments/scale" in API group "apps" in the namespace "a": why"#,
            ),
            (
                Attributes {
                    user: Arc::new(User::new("b<b", &[])),
                    verb: "get".into(),
                    path: "/x&y".into(),
                    ..Attributes::default()
                },
                "",
                r#"forbidden: User "b&lt;b" cannot get path "/x&amp;y""#,
            ),
        ];
        for (attributes, reason, expected) in table {
            assert_eq!(forbidden(&attributes, reason).message, expected);
        }
        let status =
            forbidden(&attributes("get", "apps", "deployments", "", "a", "x"), "").to_value();
        assert_eq!(
            status["details"],
            json!({"name": "x", "group": "apps", "kind": "deployments"})
        );
        assert_eq!(
            forbidden(&Attributes::default(), "").to_value()["details"],
            json!({})
        );
    }
}
