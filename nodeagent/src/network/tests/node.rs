//! A node's whole network as its agent starts it: fed by an API server, with a world outside of the host.

use std::{net::SocketAddr, sync::Arc};

use futures::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        HostPort, PodNetworks,
        cluster::ClusterNetwork,
        family::IpFamily,
        link::{Links, Peer},
        nft::{Family, Nft},
        node::{self, NodeConfig},
        ns::Namespace,
        view::ClusterView,
    },
    lab::*,
};
use crate::network::protocol::Protocol;

/// An API server that has `lists` (by plural) and tells of what comes over `events` to whoever watches EndpointSlices.
fn api_server(
    lists: Value,
    events: tokio::sync::broadcast::Sender<Value>,
) -> skiff_watching::client::Client {
    let service = tower::service_fn(
        move |request: http::Request<http_body_util::Full<bytes::Bytes>>| {
            let (lists, events) = (lists.clone(), events.clone());
            async move {
                let plural = request
                    .uri()
                    .path()
                    .rsplit('/')
                    .next()
                    .unwrap_or_default()
                    .to_owned();
                let watches = request
                    .uri()
                    .query()
                    .unwrap_or_default()
                    .contains("watch=true");
                let first = if watches {
                    None
                } else {
                    Some(json!({"metadata": {"resourceVersion": "1"}, "items": lists[&plural]}))
                };
                let later = tokio_stream::wrappers::BroadcastStream::new(events.subscribe())
                    .filter_map(|e| async { e.ok() });
                let later = later.filter(move |_| std::future::ready(plural == "endpointslices"));
                let lines = futures::stream::iter(first).chain(later.take(if watches {
                    usize::MAX
                } else {
                    0
                }));
                let frames = lines.map(|v| {
                    Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from(format!(
                        "{v}\n"
                    ))))
                });
                // A watch without events stays open.
                let open = futures::stream::pending().take(usize::from(watches));
                Ok::<_, std::io::Error>(http::Response::new(http_body_util::StreamBody::new(
                    frames.chain(open).boxed(),
                )))
            }
        },
    );
    skiff_watching::client::Client::new(service)
}

fn slice(ip: &str, version: &str) -> Value {
    json!({"metadata": {"namespace": "ns", "name": "web-1", "resourceVersion": version, "labels": {"kubernetes.io/service-name": "web"}},
        "addressType": "IPv4", "ports": [{"name": "", "port": 8080, "protocol": "TCP"}], "endpoints": [{"addresses": [ip], "nodeName": "n"}]})
}

fn node_config(
    lab_dir: &std::path::Path,
    name: &str,
    ns: Namespace,
    host: Namespace,
    pod_cidr: &str,
) -> NodeConfig {
    NodeConfig {
        node_name: name.into(),
        node: ns,
        upstream: host,
        dir: lab_dir.join(name),
        pod_cidrs: vec![pod_cidr.parse().unwrap()],
        service_cidrs: vec!["10.96.0.0/16".parse().unwrap()],
        dns_ips: vec![[10, 96, 0, 10].into()],
        domain: "cluster.local".into(),
        resolv_conf: lab_dir.join("resolv.conf"),
        mtu: None,
        force_userspace: false,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_as_its_agent_starts_it() {
    if !possible().await {
        return;
    }
    let lab = Lab::new(0).await;
    if let Err(e) = Nft::find(&lab.host).await {
        return skiff_testing::skipped(e);
    }
    let net = lab.cluster.add_node("n").await.unwrap();
    let stop = CancellationToken::new();
    let lists = json!({
        "nodes": [{"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {"podCIDR": "10.244.0.0/24"},
            "status": {"addresses": [{"type": "InternalIP", "address": net.ip}]}}],
        "services": [{"metadata": {"namespace": "ns", "name": "web", "resourceVersion": "1"}, "spec": {"clusterIP": "10.96.0.5", "ports": [{"port": 80}]}}],
        "endpointslices": [slice("10.244.0.2", "1")],
    });
    let events = tokio::sync::broadcast::Sender::new(16);
    let view = ClusterView::start(api_server(lists, events.clone()), stop.clone());
    let config = node_config(
        lab.dir.path(),
        "n",
        net.ns.clone(),
        lab.host.clone(),
        "10.244.0.0/24",
    );
    let pods = node::start(view, config.clone(), stop.clone())
        .await
        .unwrap();
    let mut made = Vec::new();
    for uid in ["a", "b"] {
        let pod = pods.setup(uid).await.unwrap();
        let ns = Namespace::open(&pod.netns).unwrap();
        serve(&ns, SocketAddr::new(pod.ips[0], 8080), uid).await;
        made.push((ns, pod.ips[0]));
    }
    let web: SocketAddr = "10.96.0.5:80".parse().unwrap();
    answered_by("the listed endpoint answers", &made[1].0, web, "a").await;
    events
        .send(json!({"type": "MODIFIED", "object": slice(&made[1].1.to_string(), "2")}))
        .unwrap();
    answered_by("the changed endpoint answers", &made[1].0, web, "b").await;

    let port = HostPort {
        protocol: Protocol::Tcp,
        host_ip: None,
        host_port: 8081,
        container_port: 8080,
    };
    pods.set_host_ports("a", std::slice::from_ref(&port))
        .await
        .unwrap();
    let host_port = SocketAddr::new(net.ip.into(), 8081);
    for ns in [&lab.host, &made[0].0, &made[1].0, &net.ns] {
        assert_eq!(
            server(ns, host_port).await,
            "a",
            "the host port, from everywhere"
        );
    }
    pods.teardown("a").await.unwrap();
    assert!(ask(&lab.host, host_port).await.is_err());

    stop.cancel();
    node::clear(&config).await.unwrap();
    let left = Links::open(&net.ns).await.unwrap().all().await.unwrap();
    assert_eq!(
        left.into_keys().collect::<Vec<_>>(),
        ["eth0", "lo"],
        "a cleared node has only what the machine gave it"
    );
    let nft = Nft::find(&net.ns).await.unwrap();
    for family in [Family::Ip, Family::Ip6, Family::Bridge] {
        let left = nft.tables(family).await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_world_outside() {
    if !possible().await {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let host = Namespace::make(&dir.path().join("host")).await.unwrap();
    let world = Namespace::make(&dir.path().join("world")).await.unwrap();
    let links = Links::open(&host).await.unwrap();
    links.up(1).await.unwrap();
    let uplink = links
        .bridge("uplink", 1400, [192, 0, 2, 1].into(), 24)
        .await
        .unwrap();
    links
        .veth(
            "cable",
            uplink,
            Peer {
                name: "eth0",
                namespace: &world,
                addresses: &[[192, 0, 2, 2].into()],
            },
            1400,
        )
        .await
        .unwrap();
    let outside = Links::open(&world).await.unwrap();
    let eth0 = outside.need("eth0").await.unwrap();
    outside
        .add_address(eth0, [192, 0, 2, 2].into(), 24)
        .await
        .unwrap();
    outside.up(eth0).await.unwrap();
    outside
        .route(
            "10.0.0.0/8".parse().unwrap(),
            Some([192, 0, 2, 1].into()),
            eth0,
        )
        .await
        .unwrap();
    links
        .route(
            "0.0.0.0/0".parse().unwrap(),
            Some([192, 0, 2, 2].into()),
            uplink,
        )
        .await
        .unwrap();
    let lab = Lab {
        cluster: ClusterNetwork::ensure(config(&host, dir.path().join("run")).await)
            .await
            .unwrap(),
        host,
        dir,
        nodes: Vec::new(),
        families: vec![IpFamily::V4],
        family: IpFamily::V4,
    };
    if let Err(e) = Nft::find(&lab.host).await {
        return skiff_testing::skipped(e);
    }
    let net = lab.cluster.add_node("n").await.unwrap();
    lab.cluster
        .set_pod_cidrs("n", vec!["10.244.0.0/24".parse().unwrap()])
        .await
        .unwrap();
    let stop = CancellationToken::new();
    let view = Arc::new(ClusterView::default());
    view.set_synced();
    let config = node_config(
        lab.dir.path(),
        "n",
        net.ns.clone(),
        lab.host.clone(),
        "10.244.0.0/24",
    );
    let pods = node::start(view, config, stop.clone()).await.unwrap();
    let pod = pods.setup("a").await.unwrap();
    let ns = Namespace::open(&pod.netns).unwrap();
    let mtu = Links::open(&ns).await.unwrap().all().await.unwrap()["eth0"].1;
    assert_eq!(mtu, 1400, "no larger than the way out");

    let outside = "192.0.2.2:80".parse().unwrap();
    serve(&world, outside, "world").await;
    let seen = ("world".to_owned(), "192.0.2.1".to_owned());
    eventually(
        "a pod reaches the world behind the host's address",
        || async { ask(&ns, outside).await.is_ok_and(|s| s == seen) },
    )
    .await;
    assert_eq!(ask(&net.ns, outside).await.unwrap(), seen, "a node too");
    serve(&net.ns, SocketAddr::new(net.ip.into(), 80), "node").await;
    assert_eq!(
        server(&lab.host, SocketAddr::new(net.ip.into(), 80)).await,
        "node"
    );
    assert!(
        ask(&world, SocketAddr::new(net.ip.into(), 80))
            .await
            .is_err(),
        "the world does not reach in"
    );
    stop.cancel();
}
