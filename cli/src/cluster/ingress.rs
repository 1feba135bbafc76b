//! What a cluster needs so that its nodes serve Ingresses: the class, who the proxies are, and what they may.
//!
//! Invariant: Secrets are seen by the proxies' own identity, not by that of a node's agent. A class that is there is left as it is.

use serde_json::{Value, json};
use skiff_nodeagent::ingress::class;
use skiff_watching::{api::Api, client::Client};

use super::objects;
use crate::typed::Read;

/// The group of all proxies.
pub const GROUP: &str = "skiff:ingress";
const RBAC: &str = "rbac.authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";
const GATEWAYS: &str = "gateway.networking.k8s.io";
/// The sub-resource of certificate requests by which nodes are let.
const ASK: &str = "selfingressclient";

/// Who the proxy of a node is.
pub fn user(node: &str) -> String {
    format!("{GROUP}:{node}")
}

/// Makes what is missing.
pub async fn prepare(api: &Api) -> anyhow::Result<()> {
    let access = access().into_iter().map(|(namespace, object)| async move {
        objects::apply(api, &object.to_string(), namespace).await
    });
    tokio::try_join!(futures::future::try_join_all(access), class(api))?;
    Ok(())
}

/// Makes the class, unless there is one of that name.
async fn class(api: &Api) -> anyhow::Result<()> {
    let class = json!({"apiVersion": "networking.k8s.io/v1", "kind": "IngressClass",
        "metadata": {"name": class::NAME, "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
        "spec": {"controller": class::CONTROLLER}});
    let path = "/apis/networking.k8s.io/v1/ingressclasses";
    match api.post(path, &class).await {
        Err(error) if error.is_already_exists() => Ok(()),
        made => Ok(made.map(drop)?),
    }
}

/// Lets the nodes that joined the cluster ask for the identity of one who serves Ingresses: each for itself.
pub async fn let_nodes(api: &Api) -> anyhow::Result<()> {
    const NAME: &str = "skiff:node-autoapprove-ingress";
    let bind = |name: &str, role: &str, subject: Value| {
        json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": name},
            "roleRef": {"apiGroup": RBAC, "kind": "ClusterRole", "name": role}, "subjects": [subject]})
    };
    let role = json!({"apiVersion": format!("{RBAC}/v1"), "kind": "ClusterRole", "metadata": {"name": NAME},
        "rules": [{"apiGroups": [CERTIFICATES], "resources": [format!("certificatesigningrequests/{ASK}")], "verbs": ["create"]}]});
    let nodes = json!({"apiGroup": RBAC, "kind": "Group", "name": "system:nodes"});
    let approver = json!({"kind": "ServiceAccount", "namespace": "kube-system", "name": "certificate-controller"});
    for object in [
        role,
        bind(NAME, NAME, nodes),
        bind(
            "skiff:ingress-approver",
            "system:certificates.k8s.io:kube-apiserver-client-approver",
            approver,
        ),
    ] {
        objects::apply(api, &object.to_string(), "").await?;
    }
    Ok(())
}

/// Whether a node may ask for it. Nobody would approve the request otherwise.
pub async fn may_ask(asking: &Client) -> anyhow::Result<bool> {
    let attributes = json!({"group": CERTIFICATES, "resource": "certificatesigningrequests", "subresource": ASK, "verb": "create", "version": "*"});
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "spec": {"resourceAttributes": attributes}});
    let api = Api::new(asking.clone(), "skiff");
    let text = api
        .post(
            "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
            &review,
        )
        .await?;
    let answer: Value = serde_json::from_str(&text)?;
    Ok(*answer.at("status").at("allowed") == true)
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
        rule(
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
            &["list", "watch"]
        ),
        rule(GATEWAYS, &["gatewayclasses"], &["create", "list", "watch"]),
        rule(
            GATEWAYS,
            &["gateways", "httproutes", "referencegrants"],
            &["list", "watch"]
        ),
        rule(
            GATEWAYS,
            &[
                "gatewayclasses/status",
                "gateways/status",
                "httproutes/status"
            ],
            &["patch", "update"],
        ),
        rule("", &["namespaces", "secrets"], &["list", "watch"]),
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
