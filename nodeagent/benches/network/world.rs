//! A node in a namespace of its own, and services in front of it.

use std::{net::Ipv4Addr, path::PathBuf, sync::Arc, time::Duration};

use serde_json::json;
use skiff_nodeagent::network::{
    link::Links,
    ns::Namespace,
    services::{ProxyConfig, run_proxy},
    view::ClusterView,
};
use tokio_util::sync::CancellationToken;

/// Far longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(120);

/// Fails, rather than waits for ever, where something does not happen.
pub async fn bounded<T>(what: &str, work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(LIMIT, work).await;
    done.unwrap_or_else(|_| panic!("{what}: not within {LIMIT:?}"))
}

/// A node without a cluster.
pub struct Node {
    pub dir: tempfile::TempDir,
    pub ns: Namespace,
    pub view: Arc<ClusterView>,
    pub stop: CancellationToken,
}

impl Node {
    pub async fn new() -> Self {
        let dir = tempfile::tempdir().expect("a folder");
        let ns = Namespace::make(&dir.path().join("node"))
            .await
            .expect("a namespace: are you root?");
        let links = Links::open(&ns).await.expect("netlink");
        links.up(1).await.expect("lo");
        Node {
            dir,
            ns,
            view: Arc::new(ClusterView::default()),
            stop: CancellationToken::new(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().join("node")
    }

    /// Has the node answer for services.
    pub fn serve(&self) {
        let config = ProxyConfig {
            node: self.ns.clone(),
            node_name: "node".into(),
            pod_cidrs: vec!["10.244.0.0/16".parse().expect("a network")],
            service_cidrs: vec!["10.96.0.0/12".parse().expect("a network")],
            own_cluster_ips: vec![],
            force_userspace: false,
        };
        let (view, stop) = (self.view.clone(), self.stop.clone());
        tokio::spawn(async move {
            run_proxy(view, config, stop)
                .await
                .expect("a proxy of services");
        });
    }

    /// A service with its endpoints, as the API has them.
    pub fn service(&self, number: u32, endpoints: &[(Ipv4Addr, u16)]) {
        self.view.put_service(service(number));
        self.endpoints(number, endpoints);
    }

    pub fn endpoints(&self, number: u32, endpoints: &[(Ipv4Addr, u16)]) {
        let port = endpoints.first().map_or(0, |(_, port)| *port);
        let all: Vec<_> = endpoints
            .iter()
            .map(|(ip, _)| {
                json!({"addresses": [ip], "nodeName": "elsewhere", "conditions": {"ready": true, "serving": true, "terminating": false},
                "targetRef": {"kind": "Pod", "namespace": "ns", "name": format!("pod-{ip}"), "uid": format!("00000000-0000-0000-0000-{:012}", u32::from(*ip))}})
            })
            .collect();
        let name = format!("s{number}");
        let slice = json!({"metadata": {"namespace": "ns", "name": format!("{name}-abcde"), "uid": format!("10000000-0000-0000-0000-{number:012}"),
            "labels": {"kubernetes.io/service-name": name, "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
            "addressType": "IPv4", "ports": [{"name": "http", "port": port, "protocol": "TCP"}], "endpoints": all});
        self.view
            .put_slice(serde_json::from_value(slice).expect("a slice"));
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Err(error) = Namespace::delete(&self.path()) {
            eprintln!("left behind: {error}");
        }
    }
}

/// Its address.
pub fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(0x0a60_0000 + 256 + number)
}

fn service(number: u32) -> k8s_openapi::api::core::v1::Service {
    let name = format!("s{number}");
    serde_json::from_value(json!({"metadata": {"namespace": "ns", "name": name, "uid": format!("20000000-0000-0000-0000-{number:012}")},
        "spec": {"type": "ClusterIP", "clusterIP": address(number), "clusterIPs": [address(number)], "ipFamilies": ["IPv4"],
            "selector": {"app": name}, "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]}}))
    .expect("a service")
}

/// KB of this process in memory.
pub fn resident() -> i64 {
    let text = std::fs::read_to_string("/proc/self/status").expect("proc");
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .expect("a number")
}

/// KB that the kernel cannot give back, all in all.
pub fn kernel() -> i64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("proc");
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("SUnreclaim:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok())
        .expect("a number")
}

/// The machine's, of the last minute.
pub fn load() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").expect("proc");
    text.split(' ').next().unwrap_or_default().to_owned()
}
