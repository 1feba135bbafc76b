//! `--demo`: deploys the shop and waits until it answers.

use crate::typed::Read;
use std::time::Duration;

use anyhow::{Context, bail};
use http::Method;
use serde_json::{Value, json};
use skiff_api::machinery::yaml;
use skiff_watching::api::{Api, PatchType};

/// The manifest, as it stands in the repository.
pub const SHOP: &str = include_str!("../../../testdata/manifests/shop.yaml");

const PATIENCE: Duration = Duration::from_secs(60);

/// Sends one request and reads JSON.
async fn send(
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

/// The service by which pods find cluster DNS; every node answers at its address itself.
pub async fn dns_service(api: &Api, ip: std::net::Ipv4Addr) -> anyhow::Result<()> {
    let service = json!({"apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "kube-dns", "labels": {"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS"}},
        "spec": {"clusterIP": ip.to_string(), "clusterIPs": [ip.to_string()], "ports": [
            {"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53}, {"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53}]}});
    apply_object(api, &service, "kube-system").await
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

/// Waits until both Deployments are whole.
pub async fn wait_for_shop(api: &Api) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut missing = Vec::new();
        for name in ["front", "stock"] {
            let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}");
            let deployment =
                send(api, Method::GET, &path, "application/json", String::new()).await?;
            let wanted = deployment.at("spec").int_ptr("replicas").unwrap_or(1);
            let status = deployment.at("status");
            let whole = status.at("observedGeneration")
                == deployment.at("metadata").at("generation")
                && status.int("updatedReplicas") >= wanted
                && status.int("availableReplicas") >= wanted;
            if !whole {
                missing.push(format!(
                    "{name} has {} of {wanted} pods ready",
                    status.int("readyReplicas")
                ));
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            bail!(
                "the shop is not whole after {} s: {}; look at `skiff get pods` and `skiff events`",
                PATIENCE.as_secs(),
                missing.join(", ")
            );
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The shop's address: a node's with the service's node port.
pub async fn shop_url(api: &Api, node_ip: &str) -> anyhow::Result<String> {
    let service = send(
        api,
        Method::GET,
        "/api/v1/namespaces/default/services/front",
        "application/json",
        String::new(),
    )
    .await?;
    let ports = service.at("spec").list("ports");
    let port = ports
        .first()
        .and_then(|port| port.int_ptr("nodePort"))
        .context("the service front has no node port")?;
    Ok(format!("http://{node_ip}:{port}/"))
}

/// Asks the URL until the front answers, and knows what is in stock.
pub async fn answers(url: &str) -> anyhow::Result<String> {
    use http_body_util::{BodyExt, Empty};
    use hyper_util::{client::legacy::Client, rt::TokioExecutor};
    let client: Client<_, Empty<bytes::Bytes>> = Client::builder(TokioExecutor::new()).build_http();
    let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
    let mut said = String::new();
    loop {
        let asked = tokio::time::timeout(Duration::from_secs(1), client.get(url.parse()?)).await;
        if let Ok(Ok(answer)) = asked
            && answer.status().is_success()
        {
            said = String::from_utf8_lossy(&answer.into_body().collect().await?.to_bytes())
                .into_owned();
            if !said.contains(super::shop::UNKNOWN) {
                return Ok(said);
            }
        }
        if tokio::time::Instant::now() > deadline {
            let said = said
                .lines()
                .last()
                .map(|line| format!(" as it should: {line}"))
                .unwrap_or_default();
            bail!("{url} does not answer{said}");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until all nodes are Ready and take pods, so that the first pods spread over all of them.
pub async fn wait_for_nodes(api: &Api, names: &[String]) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let list = send(
            api,
            Method::GET,
            "/api/v1/nodes",
            "application/json",
            String::new(),
        )
        .await?;
        let ready = |name: &String| {
            list.list("items").iter().any(|node| {
                *node.at("metadata").at("name") == name.as_str()
                    && !node
                        .at("spec")
                        .list("taints")
                        .iter()
                        .any(|taint| taint.text("key") == "node.kubernetes.io/not-ready")
                    && node
                        .at("status")
                        .list("conditions")
                        .iter()
                        .any(|c| c.text("type") == "Ready" && c.text("status") == "True")
            })
        };
        let missing: Vec<&String> = names.iter().filter(|name| !ready(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if tokio::time::Instant::now() > deadline {
            bail!(
                "nodes that are not ready after {} s: {missing:?}",
                PATIENCE.as_secs()
            );
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
