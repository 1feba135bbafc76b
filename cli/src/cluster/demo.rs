//! `--demo`: deploys the shop and waits until it answers.

use std::time::Duration;

use anyhow::{Context, bail};
use skiff_watching::api::Api;

use super::objects::read;
use crate::typed::Read;

/// The manifest, as it stands in the repository.
pub const SHOP: &str = include_str!("../../../testdata/manifests/shop.yaml");

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until both Deployments are whole.
pub async fn wait_for_shop(api: &Api) -> anyhow::Result<()> {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let mut missing = Vec::new();
        for name in ["front", "stock"] {
            let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}");
            let deployment = read(api, &path).await?;
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
    let service = read(api, "/api/v1/namespaces/default/services/front").await?;
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
        let list = read(api, "/api/v1/nodes").await?;
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
