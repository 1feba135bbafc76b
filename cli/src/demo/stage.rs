//! Puts the shop up in its namespace, which `claim` makes and takes away.
//!
//! Invariant: the walls stand before there is anything behind them; the day begins when a customer is served by every node.

use std::time::Duration;

use anyhow::bail;
use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use skiff_watching::api::Api;

use super::ground::NodeOf;
use crate::{
    cluster::objects::{self, read},
    typed::Read,
};

pub const NAMESPACE: &str = "black-friday";
/// Under which the shop is known; its certificate is for this name.
pub const HOST: &str = "black-friday.example";
/// The shop, without what is different each time.
const MANIFEST: &str = include_str!("../../../testdata/manifests/black-friday.yaml");
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK: Duration = Duration::from_millis(50);

/// A certificate for the shop that signs itself, and its key; PEM.
pub struct Certificate {
    pub certificate: String,
    key: String,
}

impl Certificate {
    pub fn make() -> anyhow::Result<Certificate> {
        let key = rcgen::KeyPair::generate()?;
        let params = rcgen::CertificateParams::new(vec![HOST.to_owned()])?;
        Ok(Certificate {
            certificate: params.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// Puts everything up; nothing is ready when this returns.
pub async fn put_up(api: &Api, nodes: &[NodeOf], tls: &Certificate) -> anyhow::Result<()> {
    for object in [secret(tls), walls(nodes)] {
        objects::apply(api, &object.to_string(), NAMESPACE).await?;
    }
    objects::apply(api, MANIFEST, NAMESPACE).await
}

fn secret(tls: &Certificate) -> Value {
    let data = |text: &str| STANDARD.encode(text);
    json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "shop-tls"}, "type": "kubernetes.io/tls",
        "data": {"tls.crt": data(&tls.certificate), "tls.key": data(&tls.key)}})
}

/// The tills take who comes by the proxies, which are on the nodes, and nobody else.
fn walls(nodes: &[NodeOf]) -> Value {
    let whole = |node: &NodeOf| if node.ip.is_ipv4() { 32 } else { 128 };
    let from: Vec<Value> = nodes
        .iter()
        .map(|node| json!({"ipBlock": {"cidr": format!("{}/{}", node.ip, whole(node))}}))
        .collect();
    json!({"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "till"},
        "spec": {"podSelector": {"matchLabels": {"app": "till"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": from, "ports": [{"port": "http"}]}]}})
}

/// Waits until the tills, the vault and the thief are there, and the Ingress tells of every node.
pub async fn wait_until_open(api: &Api, nodes: &[NodeOf]) -> anyhow::Result<()> {
    let mut missing = String::new();
    let open = async {
        loop {
            missing = lacks(api, nodes).await?.join(", ");
            if missing.is_empty() {
                return anyhow::Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    match tokio::time::timeout(PATIENCE, open).await {
        Ok(opened) => opened,
        Err(_) => bail!("the shop is not open after {PATIENCE:?}: {missing}"),
    }
}

/// What is not there yet.
async fn lacks(api: &Api, nodes: &[NodeOf]) -> anyhow::Result<Vec<String>> {
    let mut missing = Vec::new();
    for name in ["till", "vault"] {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/{name}");
        let deployment = read(api, &path).await?;
        let wanted = deployment.at("spec").int_ptr("replicas").unwrap_or(1);
        let ready = deployment.at("status").int("availableReplicas");
        if ready < wanted {
            missing.push(format!("{name} has {ready} of {wanted} pods"));
        }
    }
    let thief = read(api, &format!("/api/v1/namespaces/{NAMESPACE}/pods/thief")).await?;
    if thief.at("status").text("phase") != "Running" {
        missing.push("the thief does not run".to_owned());
    }
    let path = format!("/apis/networking.k8s.io/v1/namespaces/{NAMESPACE}/ingresses/shop");
    let ingress = read(api, &path).await?;
    let told = ingress.at("status").at("loadBalancer").list("ingress");
    let is_told = |node: &NodeOf| told.iter().any(|at| at.text("ip") == node.ip.to_string());
    let silent = nodes.iter().filter(|node| !is_told(node));
    missing.extend(silent.map(|node| format!("{} takes nobody in", node.name)));
    Ok(missing)
}

/// The last line of JSON that a pod of the shop has written into its log; nothing when it has written none.
pub async fn last_line(api: &Api, pod: &str) -> anyhow::Result<Option<Value>> {
    let path = format!("/api/v1/namespaces/{NAMESPACE}/pods/{pod}/log?tailLines=1");
    let text = api.get_text(&path).await?;
    Ok(text
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn walls_let_the_nodes_through() {
        let node = |name: &str, ip: &str| NodeOf {
            name: name.into(),
            ip: ip.parse().unwrap(),
        };
        let walls = walls(&[node("a", "10.0.0.1"), node("b", "fd00::1")]);
        let from = walls.at("spec").list("ingress")[0].list("from").to_vec();
        let wanted = ["10.0.0.1/32", "fd00::1/128"].map(|cidr| json!({"ipBlock": {"cidr": cidr}}));
        assert_eq!(from, wanted);
    }

    #[test]
    fn the_certificate_is_the_shops() {
        let made = Certificate::make().unwrap();
        let secret = secret(&made);
        let stored = STANDARD.decode(secret.at("data").text("tls.crt")).unwrap();
        assert_eq!(stored, made.certificate.as_bytes());
        assert!(MANIFEST.contains(HOST) && made.key.contains("PRIVATE KEY"));
    }
}
