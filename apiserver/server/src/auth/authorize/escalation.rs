//! Nobody grants what they do not hold: the check on every write of a role or binding.
//!
//! Invariant: besides `system:masters`, and besides those who may `escalate` the role or `bind` its reference, a writer must hold each
//! rule that the role grants, in the binding's scope. Follows `pkg/registry/rbac/{role,clusterrole,rolebinding,clusterrolebinding}/policybased`
//! and `pkg/registry/rbac/escalation_check.go`.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;
use skiff_api::machinery::status::Status;

use super::{
    Authorizers,
    rbac::{RoleError, RoleRef},
    rule,
};
use crate::auth::{
    Attributes, PolicyRule, SYSTEM_MASTERS, User, null_is_default,
    text::{aggregate, quote, quote_list},
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// Which of the four kinds is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
}

impl Kind {
    /// The kind of a resource of the RBAC group, by its plural.
    pub fn of(resource: &str) -> Option<Kind> {
        [
            Kind::Role,
            Kind::ClusterRole,
            Kind::RoleBinding,
            Kind::ClusterRoleBinding,
        ]
        .into_iter()
        .find(|kind| kind.resource() == resource)
    }

    fn resource(self) -> &'static str {
        match self {
            Kind::Role => "roles",
            Kind::ClusterRole => "clusterroles",
            Kind::RoleBinding => "rolebindings",
            Kind::ClusterRoleBinding => "clusterrolebindings",
        }
    }
}

/// A write of a role or binding.
pub struct Write<'a> {
    pub kind: Kind,
    pub user: &'a User,
    /// Empty for the cluster's.
    pub namespace: &'a str,
    /// The name in the request's path, empty for a create.
    pub request_name: &'a str,
    pub new: &'a Value,
    /// The stored object, when there is one.
    pub old: Option<&'a Value>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Written {
    metadata: Metadata,
    #[serde(deserialize_with = "null_is_default")]
    rules: Vec<PolicyRule>,
    aggregation_rule: Option<Aggregation>,
    role_ref: RoleRef,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Aggregation {
    #[serde(deserialize_with = "null_is_default")]
    cluster_role_selectors: Vec<Value>,
}

/// Whether the user may write this role or binding, the right to write it at all aside. The error is the answer: 403, or 404 for a binding
/// to a role that is absent.
pub async fn check(authorizers: &Authorizers, write: &Write<'_>) -> Result<(), Status> {
    if write.user.in_group(SYSTEM_MASTERS)
        || write
            .old
            .is_some_and(|old| only_collector_fields(write.new, old))
    {
        return Ok(());
    }
    let read = |value: &Value| {
        Written::deserialize(value).map_err(|error| {
            Status::internal(format!(
                "cannot read the {}: {error}",
                write.kind.resource()
            ))
        })
    };
    let new = read(write.new)?;
    match write.kind {
        Kind::Role | Kind::ClusterRole => {
            if may(
                authorizers,
                write,
                "escalate",
                GROUP,
                write.kind.resource(),
                write.request_name,
            )
            .await
            {
                return Ok(());
            }
            holds(authorizers, write, &new.metadata.name, &new.rules)?;
            let aggregates = |role: &Written| {
                role.aggregation_rule
                    .as_ref()
                    .is_some_and(|rule| !rule.cluster_role_selectors.is_empty())
            };
            let old = write.old.map(read).transpose()?;
            if write.kind == Kind::ClusterRole
                && (aggregates(&new) || old.as_ref().is_some_and(aggregates))
            {
                // An aggregated role may gather anything.
                let everything = [rule::parse("* | * | *"), rule::parse("* : *")];
                holds(authorizers, write, &new.metadata.name, &everything).map_err(|_| {
                    let why = "must have cluster-admin privileges to use the aggregationRule";
                    Status::forbidden(GROUP, write.kind.resource(), &new.metadata.name, why)
                })?;
            }
            Ok(())
        }
        Kind::RoleBinding | Kind::ClusterRoleBinding => {
            let reference = &new.role_ref;
            let bindable = match reference.kind.as_str() {
                "ClusterRole" => Some("clusterroles"),
                "Role" => Some("roles"),
                _ => None,
            };
            if let Some(resource) = bindable
                && may(
                    authorizers,
                    write,
                    "bind",
                    &reference.api_group,
                    resource,
                    &reference.name,
                )
                .await
            {
                return Ok(());
            }
            if reference.kind == "Role" && write.namespace.is_empty() {
                // the role is looked up in no namespace
                return Err(Status::bad_request("Namespace parameter required."));
            }
            let rules = authorizers
                .rbac
                .role_rules(reference, write.namespace)
                .map_err(|error| match error {
                    // Named by the binding's resource, as upstream does.
                    RoleError::NotFound { name, .. } => {
                        Status::not_found(GROUP, write.kind.resource(), &name)
                    }
                    // said as it is, by what reads roles
                    other => Status::internal_plain(other.to_string()),
                })?;
            holds(authorizers, write, &new.metadata.name, &rules)
        }
    }
}

async fn may(
    authorizers: &Authorizers,
    write: &Write<'_>,
    verb: &str,
    group: &str,
    resource: &str,
    name: &str,
) -> bool {
    let attributes = Attributes {
        user: Arc::new(write.user.clone()),
        verb: verb.to_owned(),
        resource_request: true,
        group: group.to_owned(),
        version: "*".to_owned(),
        resource: resource.to_owned(),
        namespace: write.namespace.to_owned(),
        name: name.to_owned(),
        ..Attributes::default()
    };
    authorizers.decide(&attributes).await.allowed()
}

fn holds(
    authorizers: &Authorizers,
    write: &Write,
    name: &str,
    wanted: &[PolicyRule],
) -> Result<(), Status> {
    let (owned, errors) = authorizers.rbac.rules_for(write.user, write.namespace);
    match covers(&owned, wanted) {
        Ok(()) => Ok(()),
        Err(missing) => {
            let why = escalation_text(write.user, &missing, &errors);
            Err(Status::forbidden(GROUP, write.kind.resource(), name, &why))
        }
    }
}

/// Whether `owned` holds all of `wanted`; the error is what it lacks, one rule a verb, group, resource and name.
pub fn covers(owned: &[PolicyRule], wanted: &[PolicyRule]) -> Result<(), Vec<PolicyRule>> {
    let missing = rule::missing(owned, wanted);
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing)
    }
}

/// What a user is told who grants `missing`; `errors` are what could not be resolved of the user's own rules.
pub fn escalation_text(user: &User, missing: &[PolicyRule], errors: &[String]) -> String {
    let mut rules: Vec<String> = rule::compact(missing).iter().map(rule::describe).collect();
    rules.sort();
    rules.dedup();
    let mut text = format!(
        "user {} (groups={}) is attempting to grant RBAC permissions not currently held:\n{}",
        quote(&user.name),
        quote_list(&user.groups),
        rules.join("\n")
    );
    if let Some(errors) = aggregate(errors) {
        text += &format!("; resolution errors: [{errors}]");
    }
    text
}

/// Nothing differs but what a collector of garbage must be able to change of anything: owners, finalizers (and who manages which field).
fn only_collector_fields(new: &Value, old: &Value) -> bool {
    let bare = |object: &Value| {
        let mut object = object.clone();
        if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
            for field in ["ownerReferences", "finalizers", "selfLink", "managedFields"] {
                metadata.remove(field);
            }
        }
        object
    };
    bare(new) == bare(old)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::auth::testing::{Fake, now, of_modes};

    fn authorizers() -> Authorizers {
        let fake = Fake::default()
            .role(
                "a",
                "reader",
                &[
                    "get list | core | configmaps",
                    "get | core | secrets | only",
                    "create update | rbac.authorization.k8s.io | roles",
                ],
            )
            .role("a", "admin", &["* | * | *"])
            .bind("a", "reader", "Role", "reader", &["User alice"])
            .cluster_role("view", &["get | core | configmaps"])
            .cluster_role(
                "binder",
                &[
                    "bind | rbac.authorization.k8s.io | roles clusterroles",
                    "escalate | rbac.authorization.k8s.io | roles | special",
                ],
            )
            .cluster_role("all", &["* | * | *", "* : *"])
            .cluster_bind("binder", "binder", &["User binder"])
            .cluster_bind("all", "all", &["User chief"]);
        of_modes(&["RBAC"], Arc::new(fake))
    }

    fn try_write(user: &str, kind: Kind, new: Value, old: Option<Value>) -> Result<(), String> {
        let user = User::new(user, &["dev", "system:authenticated"]);
        let namespace = if matches!(kind, Kind::Role | Kind::RoleBinding) {
            "a"
        } else {
            ""
        };
        let request_name = if old.is_some() {
            new["metadata"]["name"].as_str().unwrap().to_owned()
        } else {
            String::new()
        };
        let write = Write {
            kind,
            user: &user,
            namespace,
            request_name: &request_name,
            new: &new,
            old: old.as_ref(),
        };
        now(check(&authorizers(), &write)).map_err(|error| error.to_string())
    }

    fn role(name: &str, rule: &str) -> Value {
        json!({"metadata": {"name": name}, "rules": [rule::parse(rule)]})
    }

    fn binding(kind: &str, name: &str) -> Value {
        json!({"metadata": {"name": "b"}, "roleRef": {"apiGroup": GROUP, "kind": kind, "name": name}})
    }

    #[test]
    fn roles_grant_what_their_writer_holds() {
        assert_eq!(
            try_write(
                "alice",
                Kind::Role,
                role("less", "get | core | configmaps"),
                None
            ),
            Ok(())
        );
        assert_eq!(
            try_write(
                "alice",
                Kind::Role,
                role("named", "get | core | secrets | only"),
                None
            ),
            Ok(())
        );
        assert_eq!(
            try_write(
                "alice",
                Kind::Role,
                role("more", "get list | core | secrets"),
                None
            )
            .unwrap_err(),
            "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"alice\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to \
             grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}"
        );
        assert!(
            try_write("alice", Kind::Role, role("named2", "get | core | secrets | only more"), None)
                .unwrap_err()
                .ends_with("\n{APIGroups:[\"\"], Resources:[\"secrets\"], ResourceNames:[\"more\"], Verbs:[\"get\"]}")
        );
        let (old, new) = (
            role("special", "get | core | pods"),
            role("special", "get | core | nodes"),
        );
        assert_eq!(
            try_write("binder", Kind::Role, new.clone(), Some(old.clone())),
            Ok(())
        );
        assert!(
            try_write("binder", Kind::Role, new, None).is_err(),
            "escalate on one name does not hold for a create"
        );
    }

    #[test]
    fn the_collector_may_always_let_go() {
        let old = json!({"metadata": {"name": "x", "finalizers": ["a"]}, "rules": [rule::parse("* | * | *")]});
        let new = json!({"metadata": {"name": "x"}, "rules": [rule::parse("* | * | *")]});
        assert_eq!(
            try_write("alice", Kind::Role, new.clone(), Some(old)),
            Ok(())
        );
        assert!(
            try_write(
                "alice",
                Kind::Role,
                new,
                Some(json!({"metadata": {"name": "x"}}))
            )
            .is_err()
        );
    }

    #[test]
    fn bindings_grant_what_their_writer_holds() {
        assert_eq!(
            try_write("alice", Kind::RoleBinding, binding("Role", "reader"), None),
            Ok(())
        );
        assert_eq!(
            try_write(
                "alice",
                Kind::RoleBinding,
                binding("ClusterRole", "view"),
                None
            ),
            Ok(())
        );
        assert!(
            try_write(
                "alice",
                Kind::ClusterRoleBinding,
                binding("ClusterRole", "view"),
                None
            )
            .is_err(),
            "held in one namespace alone"
        );
        assert!(try_write("alice", Kind::RoleBinding, binding("Role", "admin"), None).is_err());
        assert_eq!(
            try_write("binder", Kind::RoleBinding, binding("Role", "admin"), None),
            Ok(())
        );
        assert_eq!(
            try_write("alice", Kind::RoleBinding, binding("Role", "nosuch"), None).unwrap_err(),
            "rolebindings.rbac.authorization.k8s.io \"nosuch\" not found"
        );
    }

    #[test]
    fn aggregation_wants_everything() {
        let aggregated = json!({"metadata": {"name": "x"}, "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}});
        assert_eq!(
            try_write("alice", Kind::ClusterRole, aggregated.clone(), None).unwrap_err(),
            "clusterroles.rbac.authorization.k8s.io \"x\" is forbidden: must have cluster-admin privileges to use the aggregationRule"
        );
        assert_eq!(
            try_write("chief", Kind::ClusterRole, aggregated, None),
            Ok(())
        );
    }
}
