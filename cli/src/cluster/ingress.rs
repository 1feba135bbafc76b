//! What a cluster needs so that its nodes serve Ingresses: the class, who the proxies are, and what they may.
//!
//! Invariant: Secrets are seen by the proxies' own identity, not by that of a node's agent. A class that is there is left as it is.

use serde_json::{Value, json};
use skiff_nodeagent::ingress::class;
use skiff_watching::api::Api;

use super::demo;

/// The group of all proxies.
pub const GROUP: &str = "skiff:ingress";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Who the proxy of a node is.
pub fn user(node: &str) -> String {
    format!("{GROUP}:{node}")
}

/// Makes what is missing.
pub async fn prepare(api: &Api) -> anyhow::Result<()> {
    for (namespace, object) in access() {
        demo::apply(api, &object.to_string(), namespace).await?;
    }
    let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": class::NAME, "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": class::CONTROLLER}});
    match api
        .post("/apis/networking.k8s.io/v1/ingressclasses", &class)
        .await
    {
        Err(error) if error.is_already_exists() => Ok(()),
        made => Ok(made.map(drop)?),
    }
}

/// What the proxies may do: see Ingresses, what they lead to and their certificates; tell where they answer and what is wrong; know of each other.
fn access() -> Vec<(&'static str, Value)> {
    let subjects = json!([{"apiGroup": RBAC, "kind": "Group", "name": GROUP}]);
    let object = |kind: &str, more: Value| {
        let mut object =
            json!({"apiVersion": format!("{RBAC}/v1"), "kind": kind, "metadata": {"name": GROUP}});
        if let (Value::Object(object), Value::Object(more)) = (&mut object, more) {
            object.extend(more);
        }
        object
    };
    let rule = |group: &str, resources: &[&str], verbs: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": verbs});
    let seen = ["get", "list", "watch"];
    let rules = json!([
        rule("networking.k8s.io", &["ingresses", "ingressclasses"], &seen),
        rule(
            "networking.k8s.io",
            &["ingresses/status"],
            &["patch", "update"]
        ),
        rule("", &["secrets"], &["list", "watch"]),
        rule("", &["events"], &["create", "patch"]),
    ]);
    let leases = json!([rule(
        "coordination.k8s.io",
        &["leases"],
        &["create", "delete", "get", "list", "patch"]
    )]);
    let role = |kind: &str| json!({"roleRef": {"apiGroup": RBAC, "kind": kind, "name": GROUP}, "subjects": subjects});
    vec![
        ("", object("ClusterRole", json!({"rules": rules}))),
        ("", object("ClusterRoleBinding", role("ClusterRole"))),
        ("kube-system", object("Role", json!({"rules": leases}))),
        ("kube-system", object("RoleBinding", role("Role"))),
    ]
}
