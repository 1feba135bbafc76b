//! Objects that a cluster has because this program needs them, and how manifests come to be there.
//!
//! Invariant: whatever is made here may be made again; what somebody added to it stays.

use std::net::IpAddr;

use anyhow::Context;
use http::Method;
use serde_json::{Value, json};
use skiff_api::machinery::yaml;
use skiff_server::ServiceRanges;
use skiff_watching::api::{Api, PatchType};

use crate::typed::Read;

/// Sends one request and reads JSON.
pub async fn send(
    api: &Api,
    method: Method,
    path: &str,
    kind: &str,
    body: String,
) -> anyhow::Result<Value> {
    let text = api
        .send(method.clone(), path, Some(kind), None, body.into_bytes())
        .await
        .with_context(|| format!("{method} {path}"))?;
    Ok(serde_json::from_str(&text)?)
}

/// Reads one object or collection.
pub async fn read(api: &Api, path: &str) -> anyhow::Result<Value> {
    send(api, Method::GET, path, "application/json", String::new()).await
}

/// The collection of a kind, for the kinds that the shop and the cluster's own objects are of.
fn collection(object: &Value, namespace: &str) -> anyhow::Result<String> {
    let kind = object.text("kind");
    let (group, version) = object
        .text("apiVersion")
        .rsplit_once('/')
        .unwrap_or(("", object.text("apiVersion")));
    let row = skiff_api::kinds::Registry::builtin()
        .find_kind(group, version, kind)
        .with_context(|| format!("no kind {kind} in {group}/{version}"))?;
    let prefix = if group.is_empty() {
        format!("/api/{version}")
    } else {
        format!("/apis/{group}/{version}")
    };
    Ok(if row.namespaced {
        format!("{prefix}/namespaces/{namespace}/{}", row.plural)
    } else {
        format!("{prefix}/{}", row.plural)
    })
}

/// Applies the objects of a manifest to a namespace, as server-side apply does.
pub async fn apply(api: &Api, manifest: &str, namespace: &str) -> anyhow::Result<()> {
    let documents = yaml::read(manifest)?;
    for object in documents.into_iter().map(|document| document.value) {
        if !object.is_null() {
            apply_object(api, &object, namespace).await?;
        }
    }
    Ok(())
}

/// Applies one object to a namespace, as server-side apply does.
async fn apply_object(api: &Api, object: &Value, namespace: &str) -> anyhow::Result<()> {
    let name = object.at("metadata").text("name");
    let collection = collection(object, namespace)?;
    let path = format!("{collection}/{name}?fieldManager=skiff&force=true");
    let body = object.to_string();
    let kind = "application/apply-patch+yaml";
    send(api, Method::PATCH, &path, kind, body).await.map(drop)
}

/// Puts the fields of an object in, made when it is absent; what else is in it stays.
pub async fn merge(api: &Api, object: &Value, namespace: &str) -> anyhow::Result<()> {
    let place = collection(object, namespace)?;
    let name = object.at("metadata").text("name");
    let path = format!("{place}/{name}");
    match api.patch(&path, PatchType::Merge, object).await {
        Err(error) if error.is_not_found() => send(
            api,
            Method::POST,
            &place,
            "application/json",
            object.to_string(),
        )
        .await
        .map(|_| ()),
        answer => answer.map(drop).with_context(|| format!("PATCH {path}")),
    }
}

/// The service by which pods find cluster DNS, with an address of each family that services have; every node answers there itself.
pub async fn dns_service(api: &Api, ips: &[IpAddr]) -> anyhow::Result<()> {
    let first = ips.first().context("cluster DNS has no address")?;
    let policy = match ips.len() {
        1 => "SingleStack",
        _ => "RequireDualStack",
    };
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"clusterIP": first, "clusterIPs": ips, "ipFamilyPolicy": policy, "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53}, {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53}]}});
    apply_object(api, &service, "kube-system").await
}

/// The networks that services have addresses from, as the cluster itself says it: those of the ServiceCIDR `kubernetes`.
pub async fn service_ranges(api: &Api) -> anyhow::Result<ServiceRanges> {
    let path = "/apis/networking.k8s.io/v1/servicecidrs/kubernetes";
    let cidr = read(api, path).await?;
    let texts: Vec<_> = cidr.at("spec").texts("cidrs").collect();
    Ok(texts.join(",").parse()?)
}

/// The role of whoever keeps network policies on a node.
pub const POLICY_READER: &str = "skiff:network-policies";

/// Who makes up the network of the nodes of `up` may read what network policies are enforced by; upstream's network plugins bring such a role.
pub async fn policy_reader(api: &Api) -> anyhow::Result<()> {
    const GROUP: &str = "rbac.authorization.k8s.io";
    let may = |group: &str, resources: &[&str]| json!({"apiGroups": [group], "resources": resources, "verbs": ["list", "watch"]});
    let role = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRole", "metadata": {"name": POLICY_READER},
        "rules": [may("", &["namespaces", "pods"]), may("networking.k8s.io", &["networkpolicies"])]});
    let binding = json!({"apiVersion": format!("{GROUP}/v1"), "kind": "ClusterRoleBinding", "metadata": {"name": POLICY_READER},
        "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": POLICY_READER},
        "subjects": [{"apiGroup": GROUP, "kind": "User", "name": "system:kube-proxy"}]});
    apply_object(api, &role, "").await?;
    apply_object(api, &binding, "").await
}
