//! Pods with addresses of both families, and of IPv6 alone. What is tried once for each family stands with what it tries; here is what they are together.

use std::{net::SocketAddr, sync::Arc};

use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        PodNetworks,
        family::{IpFamily, alone},
        link::{Links, Peer},
        nft::{Family, Nft},
        node::{self, NodeConfig},
        ns::Namespace,
        view::ClusterView,
    },
    lab::*,
    services::nftables,
};

/// Each pod has an address of each of the lab's families, in that order, and is reached at all of them from everywhere, at once.
async fn reach_each_other(families: &[IpFamily]) {
    let lab = Lab::of(families, 2, &[]).await;
    let mut pods = Vec::new();
    for (node, uid) in [(0, "a"), (0, "b"), (1, "c")] {
        let pod = lab.pod(node, uid).await;
        let had: Vec<_> = pod.net.ips.iter().map(|ip| IpFamily::of(*ip)).collect();
        assert_eq!(had, families, "{uid}");
        for ip in &pod.net.ips {
            serve(&pod.ns, SocketAddr::new(*ip, 80), uid).await;
        }
        pods.push((uid, pod));
    }
    let from: Vec<_> = pods
        .iter()
        .map(|(name, pod)| (*name, &pod.ns))
        .chain([
            ("node 0", &lab.nodes[0].net.ns),
            ("node 1", &lab.nodes[1].net.ns),
            ("host", &lab.host),
        ])
        .collect();
    for (client, ns) in &from {
        for (server, pod) in &pods {
            for ip in &pod.net.ips {
                let to = SocketAddr::new(*ip, 80);
                let tcp = ask(ns, to).await;
                let (name, seen) = tcp.unwrap_or_else(|e| panic!("{client} to {server}: {e}"));
                assert_eq!(name, *server);
                // Whoever is asked sees the pod that asks, by its address of that family.
                if let Some((_, asking)) = pods.iter().find(|(name, _)| name == client) {
                    let own = IpFamily::of(*ip).addresses(&asking.net.ips);
                    assert_eq!(seen, own[0].to_string());
                }
                let udp = ask_udp(ns, to).await;
                udp.unwrap_or_else(|e| panic!("{client} to {server} by UDP: {e}"));
            }
        }
    }
    lab.cluster.cut("node1").await.unwrap();
    for ip in &pods[2].1.net.ips {
        assert!(ask(&pods[0].1.ns, SocketAddr::new(*ip, 80)).await.is_err());
    }
    lab.cluster.mend("node1").await.unwrap();
    for ip in &pods[2].1.net.ips {
        let to = SocketAddr::new(*ip, 80);
        answers("the mended node answers", &pods[0].1.ns, to).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_reach_each_other_by_both() {
    if possible().await {
        reach_each_other(&[IpFamily::V4, IpFamily::V6]).await;
        reach_each_other(&[IpFamily::V6, IpFamily::V4]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_reach_each_other_by_ipv6_alone() {
    if possible().await {
        reach_each_other(&[IpFamily::V6]).await;
    }
}

/// A node's whole network with a world outside of the host that has IPv6: pods are hidden behind the host there, and the world does not come in.
#[tokio::test(flavor = "multi_thread")]
async fn the_world_outside_by_ipv6() {
    if !nftables().await {
        return;
    }
    let lab = Lab::of(&[IpFamily::V6], 1, &[]).await;
    let world = Namespace::make(&lab.dir.path().join("world"))
        .await
        .unwrap();
    let [host_ip, world_ip] = ["2001:db8::1", "2001:db8::2"].map(|ip| ip.parse().unwrap());
    let links = Links::open(&lab.host).await.unwrap();
    let uplink = links.bridge("uplink", 1400, host_ip, 64).await.unwrap();
    let peer = Peer {
        name: "eth0",
        namespace: &world,
        addresses: &[world_ip],
    };
    links.veth("cable", uplink, peer, 1400).await.unwrap();
    let outside = Links::open(&world).await.unwrap();
    let eth0 = outside.need("eth0").await.unwrap();
    outside.add_address(eth0, world_ip, 64).await.unwrap();
    outside.up(eth0).await.unwrap();
    let back = "fd00::/8".parse().unwrap();
    outside.route(back, Some(host_ip), eth0).await.unwrap();
    let anywhere = IpFamily::V6.everything();
    links.route(anywhere, Some(world_ip), uplink).await.unwrap();
    let stop = CancellationToken::new();
    let view = Arc::new(ClusterView::default());
    view.set_synced();
    let node = &lab.nodes[0];
    let config = config(&lab, &[address(IpFamily::V6, [10, 96, 0, 10])]);
    let pods = node::start(view, config.clone(), stop.clone())
        .await
        .unwrap();
    let pod = pods.setup("a").await.unwrap();
    let ns = Namespace::open(&pod.netns).unwrap();
    let to = SocketAddr::new(world_ip, 80);
    serve(&world, to, "world").await;
    let seen = ("world".to_owned(), host_ip.to_string());
    eventually(
        "a pod reaches the world behind the host's address",
        || async { ask(&ns, to).await.is_ok_and(|s| s == seen) },
    )
    .await;
    let at = SocketAddr::new(lab.node_ip(0), 80);
    serve(&node.net.ns, at, "node").await;
    assert_eq!(server(&lab.host, at).await, "node");
    assert!(
        ask(&world, at).await.is_err(),
        "the world does not reach in"
    );
    stop.cancel();
    node::clear(&config).await.unwrap();
    let nft = Nft::find(&node.net.ns).await.unwrap();
    for family in [Family::Ip, Family::Ip6, Family::Bridge] {
        let left = nft.tables(family).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
    let left = Links::open(&node.net.ns).await.unwrap();
    let names: Vec<_> = left.all().await.unwrap().into_keys().collect();
    assert_eq!(names, ["eth0", "lo"]);
    let dns = alone(address(IpFamily::V6, [10, 96, 0, 10]));
    let there = left.addresses().await.unwrap();
    assert!(there.iter().all(|(_, net)| *net != dns), "{there:?}");
    Namespace::delete(&lab.dir.path().join("world")).unwrap();
}

/// What the first node of a lab is made from.
fn config(lab: &Lab, dns_ips: &[std::net::IpAddr]) -> NodeConfig {
    NodeConfig {
        node_name: lab.nodes[0].name.clone(),
        node: lab.nodes[0].net.ns.clone(),
        upstream: lab.host.clone(),
        dir: lab.dir.path().join("run").join(&lab.nodes[0].name),
        pod_cidrs: pod_cidrs(&lab.families, 0),
        service_cidrs: networks(&lab.families, SERVICES),
        dns_ips: dns_ips.to_vec(),
        domain: "cluster.local".into(),
        resolv_conf: lab.dir.path().join("resolv.conf"),
        mtu: None,
        force_userspace: false,
    }
}

/// Cluster DNS at an address of each family tells of both, whichever it is asked by.
#[tokio::test(flavor = "multi_thread")]
async fn names_by_both() {
    use hickory_server::proto::rr::RecordType::{A, AAAA, PTR};
    if !nftables().await {
        return;
    }
    let lab = Lab::of(&[IpFamily::V6, IpFamily::V4], 1, &[]).await;
    let stop = CancellationToken::new();
    let view = Arc::new(ClusterView::default());
    let service = json!({"metadata": {"namespace": "ns", "name": "web"}, "spec": {"clusterIP": "fd00::a60:5", "clusterIPs": ["fd00::a60:5", "10.96.0.5"],
        "ipFamilies": ["IPv6", "IPv4"], "ports": [{"port": 80}]}});
    view.put_service(serde_json::from_value(service).unwrap());
    let headless = json!({"metadata": {"namespace": "ns", "name": "db"}, "spec": {"clusterIP": "None", "ports": [{"name": "sql", "port": 5432}]}});
    view.put_service(serde_json::from_value(headless).unwrap());
    for (kind, ip) in [("IPv4", "10.244.0.7"), ("IPv6", "fd00::af4:7")] {
        let slice = json!({"metadata": {"namespace": "ns", "name": kind, "labels": {"kubernetes.io/service-name": "db"}}, "addressType": kind,
            "ports": [{"name": "sql", "port": 5432, "protocol": "TCP"}], "endpoints": [{"addresses": [ip]}]});
        view.put_slice(serde_json::from_value(slice).unwrap());
    }
    view.set_synced();
    let both = IpFamily::ALL.map(|family| address(family, [10, 96, 0, 10]));
    let config = config(&lab, &both);
    let pods = node::start(view, config.clone(), stop.clone())
        .await
        .unwrap();
    let pod = pods.setup("a").await.unwrap();
    let ns = Namespace::open(&pod.netns).unwrap();
    let web = "web.ns.svc.cluster.local.";
    let db = "db.ns.svc.cluster.local.";
    let reverse = "7.0.0.0.4.f.a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
    for server in both.map(|ip| SocketAddr::new(ip, 53)) {
        for (name, kind, want) in [
            (web, AAAA, "fd00::a60:5"),
            (web, A, "10.96.0.5"),
            (db, AAAA, "fd00::af4:7"),
            (db, A, "10.244.0.7"),
            ("fd00--af4-7.db.ns.svc.cluster.local.", AAAA, "fd00::af4:7"),
            (reverse, PTR, "fd00--af4-7.db.ns.svc.cluster.local."),
            ("ns.dns.cluster.local.", AAAA, "fd00::a60:a"),
        ] {
            eventually(&format!("{name} {kind} at {server}"), || async {
                let said = super::dns::by_udp_at(&ns, server, name, kind).await;
                said.is_ok_and(|message| super::dns::addresses(&message) == [want])
            })
            .await;
        }
    }
    stop.cancel();
    pods.teardown("a").await.unwrap();
    node::clear(&config).await.unwrap();
}
