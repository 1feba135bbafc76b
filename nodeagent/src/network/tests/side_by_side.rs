//! Two clusters on one host, with the same addresses for pods and services: neither notices the other.

use std::net::{IpAddr, SocketAddr};

use serde_json::json;

use super::{
    super::routes::{RoutesConfig, run_routes},
    lab::*,
    services::{Cluster, nftables},
};

/// Whether the host passes bridged packets through its rules for IP, as Docker and Kubernetes ask for; says so if not.
async fn bridged_packets_are_filtered(lab: &Lab) -> bool {
    let set = lab
        .host
        .sysctl(vec![("net/bridge/bridge-nf-call-iptables".into(), "1")])
        .await;
    if let Err(error) = &set {
        eprintln!("skipped: the part with filtered bridges: {error}");
    }
    set.is_ok()
}

/// A service of both protocols, whose pods on both nodes bear the cluster's name.
async fn serve_both(c: &Cluster, name: &str) -> (Pod, Pod, Pod) {
    let here = c.lab.pod_with_server(0, &format!("{name}-0"), 8080).await;
    let there = c.lab.pod_with_server(1, &format!("{name}-1"), 8080).await;
    let client = c.lab.pod(0, &format!("{name}-client")).await;
    let port = |name: &str, protocol: &str| json!({"name": name, "port": 80, "protocol": protocol});
    let target =
        |name: &str, protocol: &str| json!({"name": name, "port": 8080, "protocol": protocol});
    c.service(
        "web",
        json!({"clusterIP": "10.96.0.5", "ports": [port("t", "TCP"), port("u", "UDP")]}),
    );
    c.endpoints_with(
        "web",
        json!([target("t", "TCP"), target("u", "UDP")]),
        &[(&here, 0, "ready"), (&there, 1, "ready")],
    );
    (here, there, client)
}

/// The nodes' routes to each other's pods, as their agents keep them.
pub fn lead_to_other_nodes(c: &Cluster) {
    for (number, node) in c.lab.nodes.iter().enumerate() {
        let config = RoutesConfig {
            node: node.net.ns.clone(),
            node_name: node.name.clone(),
            pod_cidrs: pod_cidrs(&c.lab.families, number),
        };
        tokio::spawn(run_routes(c.view.clone(), config, c.stop.clone()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn neither_disturbs_the_other() {
    if !nftables().await {
        return;
    }
    let first = Lab::new(2).await;
    bridged_packets_are_filtered(&first).await;
    let second = first.beside(2).await;
    let clusters = [
        ("a", Cluster::in_lab(first, false)),
        ("b", Cluster::in_lab(second, false)),
    ];
    let mut pods = Vec::new();
    for (name, c) in &clusters {
        lead_to_other_nodes(c);
        pods.push(serve_both(c, name).await);
    }
    let web = clusters[0].1.at([10, 96, 0, 5], 80);
    for ((name, c), (_, there, client)) in clusters.iter().zip(&pods) {
        eventually("the service answers", || async {
            ask(&client.ns, web).await.is_ok() && ask_udp(&client.ns, web).await.is_ok()
        })
        .await;
        let own = client.ip.to_string();
        for round in 0..32 {
            for (protocol, answer) in [
                ("TCP", ask(&client.ns, web).await),
                ("UDP", ask_udp(&client.ns, web).await),
            ] {
                let (server, seen) = answer
                    .unwrap_or_else(|error| panic!("{protocol} answer {round} in {name}: {error}"));
                assert!(
                    server.starts_with(name),
                    "{protocol} answer {round} in {name} is that of {server}"
                );
                assert_eq!(
                    seen, own,
                    "{protocol} answer {round} in {name}: the client is not hidden"
                );
            }
        }
        // From pod to pod over the nodes' bridge, and from the node.
        let to = SocketAddr::new(there.ip, 8080);
        assert_eq!(
            ask(&client.ns, to).await.unwrap(),
            (format!("{name}-1"), own.clone())
        );
        assert_eq!(
            ask_udp(&client.ns, to).await.unwrap(),
            (format!("{name}-1"), own)
        );
        let gateway = c.lab.cluster.gateway().await.to_string();
        assert_eq!(
            ask_through(&c.lab.host, &c.lab.cluster.bridge().await, to)
                .await
                .unwrap(),
            (format!("{name}-1"), gateway),
            "the host's own way"
        );
        let node = SocketAddr::new(IpAddr::V4(c.lab.nodes[1].net.ip), 80);
        refused(&client.ns, node).await;
    }
}
