//! Services for real: reached from pods, nodes and the host, by nftables and in user space.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        family::IpFamily,
        nft::{Batch, Nft},
        services::{ProxyConfig, run_proxy},
        view::{ClusterView, ObjectName},
    },
    lab::*,
};

pub struct Cluster {
    pub lab: Lab,
    pub view: Arc<ClusterView>,
    pub stop: CancellationToken,
}

impl Cluster {
    async fn new(family: IpFamily, nodes: usize, userspace: bool) -> Self {
        Self::in_lab(Lab::walled(family, nodes, &[]).await, userspace)
    }

    /// None where nftables cannot be tested, which is said.
    async fn with_nftables(family: IpFamily, nodes: usize) -> Option<Self> {
        if !nftables().await {
            return None;
        }
        Some(Self::new(family, nodes, false).await)
    }

    /// Two pods of the first node that serve as `a` and `b`.
    async fn pair(&self) -> [Pod; 2] {
        let serving = async |name| self.lab.pod_with_server(0, name, 8080).await;
        [serving("a").await, serving("b").await]
    }

    fn cluster_ip(&self, name: &str, ip: &str) {
        self.service(name, json!({"clusterIP": ip, "ports": [{"port": 80}]}));
    }

    /// Services in front of what is there.
    pub fn in_lab(lab: Lab, userspace: bool) -> Self {
        let view = Arc::new(ClusterView::default());
        let stop = CancellationToken::new();
        for (i, node) in lab.nodes.iter().enumerate() {
            let internal = node.net.ips.iter();
            let internal = internal.map(|ip| json!({"type": "InternalIP", "address": ip}));
            let internal: Vec<_> = internal.collect();
            view.put_node(
                &serde_json::from_value(json!({"metadata": {"name": node.name}, "spec": {"podCIDRs": pod_cidrs(&lab.families, i)},
                    "status": {"addresses": internal}}))
                .unwrap(),
            );
            let config = ProxyConfig {
                node: node.net.ns.clone(),
                node_name: node.name.clone(),
                pod_cidrs: pod_cidrs(&lab.families, i),
                service_cidrs: networks(&lab.families, SERVICES),
                own_cluster_ips: lab
                    .families
                    .iter()
                    .map(|family| address(*family, [10, 96, 0, 10]))
                    .collect(),
                force_userspace: userspace,
            };
            tokio::spawn(run_proxy(view.clone(), config, stop.clone()));
        }
        view.set_synced();
        Cluster { lab, view, stop }
    }

    /// A place of services in the family that is tried.
    pub fn at(&self, ip: [u8; 4], port: u16) -> SocketAddr {
        SocketAddr::new(address(self.lab.family, ip), port)
    }

    /// `spec` is written for IPv4.
    pub fn service(&self, name: &str, spec: Value) {
        let spec = translated(self.lab.family, spec);
        self.view.put_service(
            serde_json::from_value(
                json!({"metadata": {"namespace": "ns", "name": name}, "spec": spec}),
            )
            .unwrap(),
        );
    }

    /// Endpoints as (pod, node, state), state being `ready`, `terminating` or `unready`.
    fn endpoints(&self, service: &str, protocol: &str, endpoints: &[(&Pod, usize, &str)]) {
        self.endpoints_with(
            service,
            json!([{"name": "", "port": 8080, "protocol": protocol}]),
            endpoints,
        );
    }

    /// The same with ports of one's own.
    pub fn endpoints_with(&self, service: &str, ports: Value, endpoints: &[(&Pod, usize, &str)]) {
        let endpoints: Vec<_> = endpoints
            .iter()
            .map(|(pod, node, state)| {
                json!({"addresses": [pod.ip], "nodeName": format!("node{node}"),
                "conditions": {"ready": *state == "ready", "serving": *state != "unready", "terminating": *state == "terminating"}})
            })
            .collect();
        let kind = match self.lab.family {
            IpFamily::V4 => "IPv4",
            IpFamily::V6 => "IPv6",
        };
        let slice = json!({"metadata": {"namespace": "ns", "name": service, "labels": {"kubernetes.io/service-name": service}},
            "addressType": kind, "ports": ports, "endpoints": endpoints});
        self.view.put_slice(serde_json::from_value(slice).unwrap());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Whether nftables can be tested; says so if not.
pub async fn nftables() -> bool {
    if !possible().await {
        return false;
    }
    match Nft::find(&super::super::ns::Namespace::current().unwrap()).await {
        Ok(_) => true,
        Err(e) => {
            skiff_testing::skipped(e);
            false
        }
    }
}

in_both_families!(cluster_ips_answer_everywhere);

async fn cluster_ips_answer_everywhere(family: IpFamily) {
    let Some(c) = Cluster::with_nftables(family, 2).await else {
        return;
    };
    let a = c.lab.pod_with_server(0, "a", 8080).await;
    let b = c.lab.pod_with_server(1, "b", 8080).await;
    let client = c.lab.pod(0, "client").await;
    c.cluster_ip("web", "10.96.0.5");
    let web = c.at([10, 96, 0, 5], 80);
    refuses("a service without endpoints refuses", &client.ns, web).await;
    // by a reset: of the kernel's other answer a client gets one a second
    let begun = std::time::Instant::now();
    for _ in 0..20 {
        refused(&client.ns, web).await;
    }
    assert!(
        begun.elapsed() < std::time::Duration::from_secs(2),
        "20 refusals took {:?}",
        begun.elapsed()
    );
    c.endpoints("web", "TCP", &[(&a, 0, "ready"), (&b, 1, "ready")]);
    answers("the service answers", &client.ns, web).await;

    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..40 {
        let (name, from) = ask(&client.ns, web).await.unwrap();
        assert_eq!(
            from,
            client.ip.to_string(),
            "pods see pods, here and on the other node"
        );
        seen.insert(name);
    }
    assert_eq!(seen.len(), 2, "both endpoints have their share");
    for ns in [
        &c.lab.nodes[0].net.ns,
        &c.lab.nodes[1].net.ns,
        &c.lab.host,
        &a.ns,
    ] {
        for _ in 0..8 {
            ask(ns, web).await.unwrap();
        }
    }
    // What is no port, and no service.
    refused(&client.ns, c.at([10, 96, 0, 5], 81)).await;

    c.endpoints("web", "TCP", &[(&a, 0, "ready")]);
    let start = Instant::now();
    eventually("the endpoint is gone", || async {
        for _ in 0..8 {
            if ask(&client.ns, web)
                .await
                .is_ok_and(|(name, _)| name == "b")
            {
                return false;
            }
        }
        true
    })
    .await;
    eprintln!("endpoint gone after {:?}", start.elapsed());
    assert_eq!(
        server(&a.ns, web).await,
        "a",
        "a pod reaches itself through its service"
    );
    c.view.remove_service(&ObjectName::new("ns", "web"));
    eventually("the service is gone", || async {
        ask(&client.ns, web).await.is_err()
    })
    .await;
}

in_both_families!(node_ports_and_policies);

async fn node_ports_and_policies(family: IpFamily) {
    let Some(c) = Cluster::with_nftables(family, 2).await else {
        return;
    };
    let a = c.lab.pod_with_server(0, "a", 8080).await;
    let ports = json!([{"port": 80, "nodePort": 30080}]);
    c.service("web", json!({"type": "NodePort", "clusterIP": "10.96.0.6", "externalIPs": ["203.0.113.9"], "ports": ports}));
    c.endpoints("web", "TCP", &[(&a, 0, "ready")]);
    let nodes: Vec<_> = c
        .lab
        .nodes
        .iter()
        .enumerate()
        .map(|(number, _)| SocketAddr::new(c.lab.node_ip(number), 30080))
        .collect();
    for node in &nodes {
        answers("the node port answers", &c.lab.host, *node).await;
    }
    let gateway = c.lab.gateway().to_string();
    assert_ne!(
        ask(&c.lab.host, nodes[0]).await.unwrap().1,
        gateway,
        "policy Cluster hides the client"
    );
    ask(&a.ns, nodes[1]).await.unwrap();
    answers("the external IP answers", &a.ns, c.at([203, 0, 113, 9], 80)).await;

    c.service("web", json!({"type": "NodePort", "clusterIP": "10.96.0.6", "externalTrafficPolicy": "Local", "ports": ports}));
    eventually("policy Local shows the client", || async {
        ask(&c.lab.host, nodes[0])
            .await
            .is_ok_and(|(_, from)| from == gateway)
    })
    .await;
    eventually("and drops where nothing is", || async {
        ask(&c.lab.host, nodes[1])
            .await
            .is_err_and(|e| e.kind() == std::io::ErrorKind::TimedOut)
    })
    .await;
    assert!(
        ask(&c.lab.nodes[1].net.ns, nodes[1]).await.is_ok(),
        "but not for the node itself"
    );

    c.endpoints("web", "TCP", &[(&a, 0, "terminating")]);
    tokio::task::yield_now().await;
    assert_eq!(
        server(&c.lab.host, nodes[0]).await,
        "a",
        "one that terminates still serves when it is the last"
    );
    c.endpoints("web", "TCP", &[(&a, 0, "unready")]);
    refuses("refused without endpoints", &c.lab.host, nodes[0]).await;
}

in_both_families!(affinity_and_udp);

async fn affinity_and_udp(family: IpFamily) {
    let Some(c) = Cluster::with_nftables(family, 1).await else {
        return;
    };
    let pods = [
        c.lab.pod_with_server(0, "a", 8080).await,
        c.lab.pod_with_server(0, "b", 8080).await,
        c.lab.pod_with_server(0, "c", 8080).await,
    ];
    let client = c.lab.pod(0, "client").await;
    let all: Vec<_> = pods.iter().map(|p| (p, 0, "ready")).collect();
    c.service(
        "sticky",
        json!({"clusterIP": "10.96.0.7", "sessionAffinity": "ClientIP", "ports": [{"port": 80}]}),
    );
    c.endpoints("sticky", "TCP", &all);
    let sticky = c.at([10, 96, 0, 7], 80);
    answers("the service answers", &client.ns, sticky).await;
    let (first, _) = ask(&client.ns, sticky).await.unwrap();
    for _ in 0..20 {
        assert_eq!(
            server(&client.ns, sticky).await,
            first,
            "a client stays with its endpoint"
        );
    }
    let others: Vec<_> = pods
        .iter()
        .zip(["a", "b", "c"])
        .filter(|(_, n)| *n != first)
        .map(|(p, _)| (p, 0, "ready"))
        .collect();
    c.endpoints("sticky", "TCP", &others);
    eventually("the client moves on", || async {
        ask(&client.ns, sticky).await.is_ok_and(|(n, _)| n != first)
    })
    .await;

    c.service(
        "udp",
        json!({"clusterIP": "10.96.0.8", "ports": [{"port": 53, "protocol": "UDP"}]}),
    );
    c.endpoints("udp", "UDP", &[(&pods[0], 0, "ready")]);
    let udp = c.at([10, 96, 0, 8], 53);
    let socket = client
        .ns
        .udp_bind(SocketAddr::new(family.unspecified(), 0))
        .await
        .unwrap();
    socket.connect(udp).await.unwrap();
    let talk = || async {
        socket.send(b"?").await.ok();
        let mut buffer = [0; 64];
        match tokio::time::timeout(Duration::from_millis(300), socket.recv(&mut buffer)).await {
            Ok(Ok(n)) => String::from_utf8_lossy(&buffer[..n])
                .split(' ')
                .next()
                .map(str::to_owned),
            _ => None,
        }
    };
    eventually("UDP answers", || async {
        talk().await.as_deref() == Some("a")
    })
    .await;
    c.endpoints("udp", "UDP", &[(&pods[1], 0, "ready")]);
    eventually(
        "a UDP client that keeps its port is led to the new endpoint",
        || async { talk().await.as_deref() == Some("b") },
    )
    .await;
}

in_both_families!(one_number_with_two_protocols);

async fn one_number_with_two_protocols(family: IpFamily) {
    if !nftables().await {
        return;
    }
    for userspace in [false, true] {
        let c = Cluster::new(family, 1, userspace).await;
        let a = c.lab.pod_with_server(0, "a", 8080).await;
        let client = c.lab.pod(0, "client").await;
        let port = |name: &str, protocol: &str| json!({"name": name, "port": 53, "targetPort": 8080, "nodePort": 30053, "protocol": protocol});
        let target =
            |name: &str, protocol: &str| json!({"name": name, "port": 8080, "protocol": protocol});
        let spec = json!({"type": "NodePort", "clusterIP": "10.96.0.5", "ports": [port("dns", "UDP"), port("dns-tcp", "TCP")]});
        c.service("dns", spec);
        c.endpoints_with(
            "dns",
            json!([target("dns", "UDP"), target("dns-tcp", "TCP")]),
            &[(&a, 0, "ready")],
        );
        let node = SocketAddr::new(c.lab.node_ip(0), 30053);
        for (ns, to) in [(&client.ns, c.at([10, 96, 0, 5], 53)), (&c.lab.host, node)] {
            answers(
                &format!("TCP answers at {to}, in user space: {userspace}"),
                ns,
                to,
            )
            .await;
            eventually(
                &format!("UDP answers at {to}, in user space: {userspace}"),
                || async { ask_udp(ns, to).await.is_ok() },
            )
            .await;
        }
    }
}

in_both_families!(rules_that_somebody_flushed_come_back);

async fn rules_that_somebody_flushed_come_back(family: IpFamily) {
    let Some(c) = Cluster::with_nftables(family, 1).await else {
        return;
    };
    let a = c.lab.pod_with_server(0, "a", 8080).await;
    let ns = &c.lab.nodes[0].net.ns;
    c.cluster_ip("web", "10.96.0.5");
    c.endpoints("web", "TCP", &[(&a, 0, "ready")]);
    answers("the service answers", ns, c.at([10, 96, 0, 5], 80)).await;
    Nft::find(ns)
        .await
        .unwrap()
        .apply(Batch::cleared(&family.table("skiff-proxy")))
        .await
        .unwrap();
    c.cluster_ip("other", "10.96.0.9");
    answers(
        "both services are there again",
        ns,
        c.at([10, 96, 0, 5], 80),
    )
    .await;
}

in_both_families!(no_request_is_lost_when_endpoints_change);

async fn no_request_is_lost_when_endpoints_change(family: IpFamily) {
    let Some(c) = Cluster::with_nftables(family, 1).await else {
        return;
    };
    let pods = c.pair().await;
    let client = c.lab.pod(0, "client").await;
    c.cluster_ip("web", "10.96.0.5");
    c.endpoints("web", "TCP", &[(&pods[0], 0, "ready")]);
    let web = c.at([10, 96, 0, 5], 80);
    answers("the service answers", &client.ns, web).await;
    let stop = CancellationToken::new();
    let (ns, ended) = (client.ns.clone(), stop.clone());
    let asking = tokio::spawn(async move {
        let mut answered = 0;
        while !ended.is_cancelled() {
            ask(&ns, web).await.unwrap();
            answered += 1;
        }
        answered
    });
    for round in 0..20 {
        c.endpoints(
            "web",
            "TCP",
            &[
                (&pods[round % 2], 0, "ready"),
                (&pods[(round + 1) % 2], 0, "terminating"),
            ],
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    let answered = asking.await.unwrap();
    eprintln!("{answered} requests during 20 changes, none lost");
    assert!(answered > 20);
}

in_both_families!(user_space_serves_too);

async fn user_space_serves_too(family: IpFamily) {
    if !possible().await {
        return;
    }
    let c = Cluster::new(family, 1, true).await;
    let pods = c.pair().await;
    let client = c.lab.pod(0, "client").await;
    c.service("web", json!({"type": "NodePort", "clusterIP": "10.96.0.5", "ports": [{"port": 80, "nodePort": 30080}]}));
    c.service(
        "udp",
        json!({"clusterIP": "10.96.0.8", "ports": [{"port": 53, "protocol": "UDP"}]}),
    );
    c.endpoints(
        "web",
        "TCP",
        &[(&pods[0], 0, "ready"), (&pods[1], 0, "ready")],
    );
    c.endpoints("udp", "UDP", &[(&pods[0], 0, "ready")]);
    let (web, udp) = (c.at([10, 96, 0, 5], 80), c.at([10, 96, 0, 8], 53));
    for ns in [&client.ns, &c.lab.host, &c.lab.nodes[0].net.ns] {
        answers("the service answers", ns, web).await;
        eventually("UDP answers", || async {
            ask_udp(ns, udp).await.is_ok_and(|(name, _)| name == "a")
        })
        .await;
    }
    let node_port = SocketAddr::new(c.lab.node_ip(0), 30080);
    ask(&c.lab.host, node_port).await.unwrap();
    c.endpoints("web", "TCP", &[(&pods[1], 0, "ready")]);
    answered_by("the endpoint is gone", &client.ns, web, "b").await;
    c.endpoints("web", "TCP", &[]);
    refuses("refused without endpoints", &client.ns, web).await;
}

in_both_families!(a_change_beside_many_services_is_quick);

/// The cost of one change beside many services; printed, and held to what a rolling update can bear.
async fn a_change_beside_many_services_is_quick(family: IpFamily) {
    let Some(c) = Cluster::with_nftables(family, 1).await else {
        return;
    };
    let pods = c.pair().await;
    let client = c.lab.pod(0, "client").await;
    for i in 0..500 {
        let name = format!("s{i}");
        c.service(&name, json!({"clusterIP": format!("10.96.{}.{}", 1 + i / 250, 1 + i % 250), "ports": [{"port": 80}]}));
        c.endpoints(
            &name,
            "TCP",
            &[(&pods[0], 0, "ready"), (&pods[1], 0, "ready")],
        );
    }
    let last = c.at([10, 96, 2, 250], 80);
    answers("the last service answers", &client.ns, last).await;
    let mut slowest = Duration::ZERO;
    for round in 0..10 {
        c.endpoints("s499", "TCP", &[(&pods[round % 2], 0, "ready")]);
        let (want, start) = (["a", "b"][round % 2], Instant::now());
        answered_by("the change is in force", &client.ns, last, want).await;
        slowest = slowest.max(start.elapsed());
    }
    eprintln!("one change beside 500 services: at most {slowest:?}");
    assert!(slowest < Duration::from_secs(2), "{slowest:?}");
}
