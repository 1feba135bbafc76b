//! Nodes and pods reach each other, cables can be pulled, and nothing is left behind.

use std::{collections::BTreeSet, net::SocketAddr, time::Instant};

use super::{
    super::{PodNetworks, cluster, link::Links, nft::Nft, ns::Namespace, pods},
    lab::*,
};

#[tokio::test(flavor = "multi_thread")]
async fn pods_reach_each_other() {
    if !possible().await {
        return;
    }
    let lab = Lab::new(2).await;
    let start = Instant::now();
    let a = lab.pod_with_server(0, "a", 80).await;
    eprintln!("first pod's network: {:?}", start.elapsed());
    let b = lab.pod_with_server(0, "b", 80).await;
    let c = lab.pod_with_server(1, "c", 80).await;
    let (to_b, to_c) = (SocketAddr::new(b.ip, 80), SocketAddr::new(c.ip, 80));
    assert_eq!(ask(&a.ns, to_b).await.unwrap(), ("b".into(), a.ip.to_string()), "neighbours on one bridge");
    assert_eq!(ask(&a.ns, to_c).await.unwrap(), ("c".into(), a.ip.to_string()), "pods of two nodes");
    assert_eq!(ask(&a.ns, SocketAddr::new(a.ip, 80)).await.unwrap().0, "a", "a pod itself");
    assert_eq!(ask(&lab.nodes[0].net.ns, to_b).await.unwrap().0, "b", "a node its pod");
    assert_eq!(ask(&lab.nodes[0].net.ns, to_c).await.unwrap().0, "c", "a node the other's pod");
    assert_eq!(ask(&lab.host, to_c).await.unwrap(), ("c".into(), lab.cluster.gateway().await.to_string()), "the host a pod");

    lab.cluster.cut("node1").await.unwrap();
    assert!(ask(&a.ns, to_c).await.is_err());
    assert!(ask(&a.ns, to_b).await.is_ok());
    lab.cluster.mend("node1").await.unwrap();
    eventually("the mended node answers", || async { ask(&a.ns, to_c).await.is_ok() }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_restart_keeps_pods() {
    if !possible().await {
        return;
    }
    let lab = Lab::new(1).await;
    let a = lab.pod_with_server(0, "a", 80).await;
    let run = lab.dir.path().join("run");
    let cluster = cluster::ClusterNetwork::ensure(cluster::ClusterNetworkConfig { resume: true, ..config(&lab.host, run.clone()).await }).await.unwrap();
    let node = cluster.add_node("node0").await.unwrap();
    assert_eq!(node.ip, lab.nodes[0].net.ip);
    let again = pods::PodNetworkConfig { node: node.ns, dir: run.join("node0"), pod_cidr: "10.244.0.0/24".parse().unwrap(), mtu: None };
    let again = pods::BridgeNetworks::start(again).await.unwrap();
    assert_eq!(again.list().await.unwrap(), ["a"]);
    assert_eq!(again.setup("a").await.unwrap().ips, [a.ip]);
    assert_eq!(ask(&lab.host, SocketAddr::new(a.ip, 80)).await.unwrap().0, "a");
    again.teardown("a").await.unwrap();
    again.teardown("a").await.unwrap();
    assert!(!a.net.netns.exists() && again.list().await.unwrap().is_empty());
    assert_ne!(again.setup("b").await.unwrap().ips, [a.ip], "an address rests before it is used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_behind() {
    if !possible().await {
        return;
    }
    let host = Namespace::current().unwrap();
    let before = traces(&host).await;
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let config = config(&host, run.clone()).await;
    let instance = config.instance.clone();
    let made = cluster::ClusterNetwork::ensure(config.clone()).await.unwrap();
    let node = made.add_node("n").await.unwrap();
    made.set_pod_cidrs("n", vec!["10.244.0.0/24".parse().unwrap()]).await.unwrap();
    let pod_config = pods::PodNetworkConfig { node: node.ns.clone(), dir: run.join("n"), pod_cidr: "10.244.0.0/24".parse().unwrap(), mtu: None };
    let pods = pods::BridgeNetworks::start(pod_config).await.unwrap();
    pods.setup("p").await.unwrap();
    assert_ne!(traces(&host).await, before);
    // As after a kill: the objects are forgotten, not closed.
    std::mem::forget(made);
    cluster::clear(&host, &run, &instance).await.unwrap();
    assert_eq!(traces(&host).await, before);
    cluster::clear(&host, &run, &instance).await.unwrap();
    // And in good order.
    let made = cluster::ClusterNetwork::ensure(config).await.unwrap();
    made.add_node("n").await.unwrap();
    made.remove_node("n").await.unwrap();
    made.add_node("m").await.unwrap();
    made.remove().await.unwrap();
    assert_eq!(traces(&host).await, before);
}

/// Interfaces, mounted namespaces and nftables' tables that tests of this file could leave, named by instance and so unlike those of tests beside it.
async fn traces(host: &Namespace) -> BTreeSet<String> {
    let links = Links::open(host).await.unwrap();
    let mut traces: BTreeSet<_> = links.all().await.unwrap().into_keys().filter(|l| l.starts_with("skiff")).collect();
    traces.extend(links.own_routes().await.unwrap().iter().map(|r| format!("{r:?}")));
    if let Ok(nft) = Nft::find(host).await {
        let listed = nft.list(host, &["tables"]).await.unwrap();
        traces.extend(listed["nftables"].as_array().unwrap().iter().filter_map(|t| t["table"]["name"].as_str()).map(str::to_owned));
    }
    traces
}
