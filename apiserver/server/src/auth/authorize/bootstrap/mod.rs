//! The default RBAC policy: its objects, and what of it an existing cluster lacks.
//!
//! Invariant: reconciling only adds (rules, subjects, labels, annotations) to what is there, and touches nothing that is annotated
//! `rbac.authorization.kubernetes.io/autoupdate: "false"`. Follows `plugin/pkg/auth/authorizer/rbac/bootstrappolicy/policy.go`,
//! `pkg/registry/rbac/rest/storage_rbac.go` and `staging/src/k8s.io/component-helpers/auth/rbac/reconciliation`.

mod policy;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use skiff_api::machinery::read::Read;

use self::policy::Entry;
use super::{
    rbac::{CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES},
    rule,
};
use crate::auth::PolicyRule;

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
const API_GROUP: &str = "rbac.authorization.k8s.io";

/// All objects of the default policy as (resource, namespace, object), cluster roles first. `rules` of the aggregated roles
/// `admin`, `edit` and `view` are `null` until the cluster role aggregation controller fills them in (or [`aggregated_defaults`] is put there).
pub fn bootstrap_objects() -> Vec<(&'static str, &'static str, Value)> {
    let mut objects = Vec::new();
    for Entry { name, .. } in policy::all("aggregated") {
        let selector = json!({"matchLabels": {aggregate_label(name): "true"}});
        let mut role = object("ClusterRole", "", name);
        role["rules"] = Value::Null;
        role["aggregationRule"] = json!({"clusterRoleSelectors": [selector]});
        objects.push((CLUSTER_ROLES, "", role));
    }
    for entry in policy::all("clusterrole") {
        objects.push((CLUSTER_ROLES, "", role("ClusterRole", entry.name, entry)));
    }
    for entry in policy::all("controller") {
        let name = controller_role(entry.name);
        objects.push((CLUSTER_ROLES, "", role("ClusterRole", &name, entry)));
    }
    let bound = |name: &str, role: &str, subjects: &str| {
        let to = object("ClusterRoleBinding", "", name);
        (
            CLUSTER_ROLE_BINDINGS,
            "",
            binding(to, "ClusterRole", role, subjects),
        )
    };
    for entry in policy::all("clusterrolebinding") {
        objects.push(bound(entry.name, entry.role, entry.subjects));
    }
    for entry in policy::all("controller") {
        let role = controller_role(entry.name);
        let subject = format!("ServiceAccount kube-system/{}", entry.name);
        objects.push(bound(&role, &role, &subject));
    }
    for entry in policy::all("role") {
        objects.push((ROLES, entry.namespace, role("Role", entry.name, entry)));
    }
    for entry in policy::all("rolebinding") {
        let to = object("RoleBinding", entry.namespace, entry.name);
        let binding = binding(to, "Role", entry.role, entry.subjects);
        objects.push((ROLE_BINDINGS, entry.namespace, binding));
    }
    objects
}

/// The rules that a default cluster role begins with: for those who have them whatever is bound to them.
pub fn rules_of(role: &str) -> Vec<PolicyRule> {
    policy::cluster_role(role).map(parsed).unwrap_or_default()
}

fn parsed(entry: &Entry) -> Vec<PolicyRule> {
    entry.rules.iter().map(|text| rule::parse(text)).collect()
}

fn controller_role(name: &str) -> String {
    format!("system:controller:{name}")
}

fn aggregate_label(role: &str) -> String {
    format!("rbac.authorization.k8s.io/aggregate-to-{role}")
}

fn object(kind: &str, namespace: &str, name: &str) -> Value {
    let mut labels = json!({"kubernetes.io/bootstrapping": "rbac-defaults"});
    if kind == "ClusterRole" {
        for entry in policy::all("aggregate").filter(|entry| entry.name == name) {
            labels[aggregate_label(entry.role)] = json!("true");
        }
    }
    let mut metadata = json!({"name": name, "labels": labels, "annotations": {AUTOUPDATE: "true"}});
    if !namespace.is_empty() {
        metadata["namespace"] = json!(namespace);
    }
    json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind, "metadata": metadata})
}

fn role(kind: &str, name: &str, entry: &Entry) -> Value {
    let mut role = object(kind, entry.namespace, name);
    role["rules"] = json!(parsed(entry));
    role
}

fn binding(mut binding: Value, role_kind: &str, role: &str, subjects: &str) -> Value {
    let subjects: Vec<Value> = subjects
        .split(", ")
        .filter(|text| !text.is_empty())
        .map(subject)
        .collect();
    if !subjects.is_empty() {
        binding["subjects"] = json!(subjects);
    }
    binding["roleRef"] = json!({"apiGroup": API_GROUP, "kind": role_kind, "name": role});
    binding
}

fn subject(text: &str) -> Value {
    let (kind, name) = text.split_once(' ').unwrap_or(("User", text));
    match name.split_once('/') {
        Some((namespace, name)) => json!({"kind": kind, "name": name, "namespace": namespace}),
        None => json!({"kind": kind, "apiGroup": API_GROUP, "name": name}),
    }
}

/// What is to be done about one object of the default policy.
#[derive(Debug, PartialEq)]
pub enum Reconcile {
    Nothing,
    Create(Value),
    /// The existing object with what it lacked.
    Update(Value),
    /// The binding refers to another role, which cannot be changed: delete it, then create this.
    Recreate(Value),
}

/// Compares an object of [`bootstrap_objects`] with the stored one.
pub fn reconcile(expected: &Value, existing: Option<&Value>) -> Reconcile {
    let Some(existing) = existing else {
        return Reconcile::Create(expected.clone());
    };
    if existing["metadata"]["annotations"][AUTOUPDATE] == "false" {
        return Reconcile::Nothing;
    }
    if expected.get("roleRef").is_some() && expected.at("roleRef") != existing.at("roleRef") {
        return Reconcile::Recreate(expected.clone());
    }
    let mut updated = existing.clone();
    for map in ["labels", "annotations"] {
        add_absent(&mut updated["metadata"][map], &expected["metadata"][map]);
    }
    if expected.get("roleRef").is_some() {
        append(
            &mut updated["subjects"],
            absent(expected.at("subjects"), existing.at("subjects")),
        );
    } else {
        let missing = rule::missing(&rules(existing), &rules(expected));
        append(
            &mut updated["rules"],
            missing.iter().map(|rule| json!(rule)).collect(),
        );
        reconcile_aggregation(&mut updated, expected, existing);
    }
    let untouched = |object: &Value| {
        let mut object = object.clone();
        drop_nulls(&mut object);
        object
    };
    if untouched(&updated) == untouched(existing) {
        Reconcile::Nothing
    } else {
        Reconcile::Update(updated)
    }
}

fn reconcile_aggregation(updated: &mut Value, expected: &Value, existing: &Value) {
    let selectors = |role: &Value| {
        role.at("aggregationRule")
            .at("clusterRoleSelectors")
            .clone()
    };
    if expected.some("aggregationRule").is_none() {
        if let Some(role) = updated.as_object_mut() {
            role.remove("aggregationRule");
        }
        return;
    }
    let missing = absent(&selectors(expected), &selectors(existing));
    if !missing.is_empty() {
        append(
            &mut updated["aggregationRule"]["clusterRoleSelectors"],
            missing,
        );
    }
}

/// Existing values win.
fn add_absent(to: &mut Value, from: &Value) {
    let (Some(from), existing) = (
        from.as_object(),
        to.as_object().cloned().unwrap_or_default(),
    ) else {
        return;
    };
    let merged: Map<String, Value> = from.clone().into_iter().chain(existing).collect();
    *to = Value::Object(merged);
}

fn absent(wanted: &Value, present: &Value) -> Vec<Value> {
    let present = present.as_array().map(Vec::as_slice).unwrap_or_default();
    wanted
        .as_array()
        .into_iter()
        .flatten()
        .filter(|item| !present.contains(item))
        .cloned()
        .collect()
}

fn append(to: &mut Value, items: Vec<Value>) {
    match to {
        Value::Array(list) => list.extend(items),
        other if !items.is_empty() => *other = Value::Array(items),
        _ => {}
    }
}

/// Indexing a `Value` to write leaves nulls behind, which mean the same as nothing.
fn drop_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(drop_nulls);
        map.retain(|_, value| !value.is_null());
    }
}

fn rules(role: &Value) -> Vec<PolicyRule> {
    Vec::deserialize(role.at("rules")).unwrap_or_default()
}

/// The rules that `admin`, `edit` and `view` have once aggregated, with no cluster roles but the default ones: for a server whose cluster
/// role aggregation controller has not run yet. The members come in the order of their names, each rule once, as the controller does it.
pub fn aggregated_defaults() -> Vec<(&'static str, Vec<PolicyRule>)> {
    policy::all("aggregated")
        .map(|entry| (entry.name, aggregated(entry.name)))
        .collect()
}

fn aggregated(name: &str) -> Vec<PolicyRule> {
    let mut gathered: Vec<PolicyRule> = Vec::new();
    for entry in policy::all("aggregate").filter(|entry| entry.role == name) {
        let rules = match policy::cluster_role(entry.name) {
            Some(role) => parsed(role),
            None => aggregated(entry.name),
        };
        for rule in rules {
            if !gathered.contains(&rule) {
                gathered.push(rule);
            }
        }
    }
    gathered
}

#[cfg(test)]
mod tests;
