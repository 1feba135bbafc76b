//! A host, nodes and pods to test in. All of it goes with the `Lab`, also when a test panics, because namespaces die with their last handle.

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::super::{
    PodNetwork, PodNetworks,
    cluster::{ClusterNetwork, ClusterNetworkConfig, NodeNetwork},
    family::IpFamily,
    link::Links,
    ns::{Namespace, supported},
    pods::{BridgeNetworks, PodNetworkConfig},
    policy::Walls,
};
use crate::outcome;

pub const DEADLINE: Duration = Duration::from_secs(10);

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub host: Namespace,
    pub cluster: ClusterNetwork,
    pub nodes: Vec<Node>,
}

pub struct Node {
    pub name: String,
    pub net: NodeNetwork,
    pub pods: BridgeNetworks,
}

/// A pod with an echo server of sorts: each connection is told the client's address and the server's name.
pub struct Pod {
    pub ns: Namespace,
    pub ip: IpAddr,
    pub net: PodNetwork,
}

/// Whether tests may make namespaces here; says so if not.
pub async fn possible() -> bool {
    match supported().await {
        Ok(()) => true,
        Err(e) => {
            skiff_testing::skipped(e);
            false
        }
    }
}

/// The networks of pods and services of a cluster of IPv4, and those that one has beside them where it has both.
pub const PODS: [&str; 2] = ["10.244.0.0/16", "fd00:244::/48"];
pub const SERVICES: [&str; 2] = ["10.96.0.0/16", "fd00:96::/112"];

/// The podCIDRs of a node of a cluster with these families.
pub fn pod_cidrs(families: &[IpFamily], number: usize) -> Vec<IpNet> {
    let of = |family: &IpFamily| match family {
        IpFamily::V4 => format!("10.244.{number}.0/24"),
        IpFamily::V6 => format!("fd00:244:0:{number:x}::/64"),
    };
    families.iter().map(|f| of(f).parse().unwrap()).collect()
}

pub fn networks(families: &[IpFamily], of: [&str; 2]) -> Vec<IpNet> {
    let all = of.map(|net| net.parse::<IpNet>().unwrap());
    families.iter().filter_map(|f| f.network(&all)).collect()
}

pub async fn config(host: &Namespace, dir: PathBuf) -> ClusterNetworkConfig {
    config_of(host, dir, &[IpFamily::V4])
}

fn config_of(host: &Namespace, dir: PathBuf, families: &[IpFamily]) -> ClusterNetworkConfig {
    let (pods, services) = (networks(families, PODS), networks(families, SERVICES));
    ClusterNetworkConfig {
        host: host.clone(),
        instance: dir.display().to_string(),
        run_dir: dir,
        bridge: None,
        node_cidr: None,
        cluster_cidrs: [pods, services.clone()].concat(),
        service_cidrs: services,
        resume: false,
    }
}

impl Lab {
    pub async fn new(nodes: usize) -> Self {
        Self::walled(nodes, &[]).await
    }

    /// The same whose nodes' pods have these walls, in order.
    pub async fn walled(nodes: usize, walls: &[Walls]) -> Self {
        Self::of(&[IpFamily::V4], nodes, walls).await
    }

    /// The same whose pods have addresses of these families.
    pub async fn of(families: &[IpFamily], nodes: usize, walls: &[Walls]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Namespace::make(&dir.path().join("host")).await.unwrap();
        Links::open(&host).await.unwrap().up(1).await.unwrap();
        Self::on(host, dir, families, nodes, walls).await
    }

    /// Another one on the same host, with the same ranges of pods and services.
    pub async fn beside(&self, nodes: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self::on(self.host.clone(), dir, &[IpFamily::V4], nodes, &[]).await
    }

    async fn on(
        host: Namespace,
        dir: tempfile::TempDir,
        families: &[IpFamily],
        nodes: usize,
        walls: &[Walls],
    ) -> Self {
        let config = config_of(&host, dir.path().join("run"), families);
        let cluster = ClusterNetwork::ensure(config).await.unwrap();
        let mut lab = Lab {
            dir,
            host,
            cluster,
            nodes: Vec::new(),
        };
        for i in 0..nodes {
            let name = format!("node{i}");
            let net = lab.cluster.add_node(&name).await.unwrap();
            let pod_cidrs = pod_cidrs(families, i);
            lab.cluster
                .set_pod_cidrs(&name, pod_cidrs.clone())
                .await
                .unwrap();
            let config = PodNetworkConfig {
                node: net.ns.clone(),
                dir: lab.dir.path().join("run").join(&name),
                pod_cidrs,
                mtu: None,
                walls: walls.get(i).cloned(),
            };
            let pods = BridgeNetworks::start(config).await.unwrap();
            lab.nodes.push(Node { name, net, pods });
        }
        lab
    }

    pub async fn pod(&self, node: usize, uid: &str) -> Pod {
        let net = self.nodes[node].pods.setup(uid).await.unwrap();
        let ns = Namespace::open(&net.netns).unwrap();
        Pod {
            ns,
            ip: net.ips[0],
            net,
        }
    }

    pub async fn pod_with_server(&self, node: usize, uid: &str, port: u16) -> Pod {
        let pod = self.pod(node, uid).await;
        serve(&pod.ns, SocketAddr::new(pod.ip, port), uid).await;
        pod
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let below = super::super::cluster::namespaces_below(self.dir.path()).unwrap_or_default();
        for path in below {
            Namespace::delete(&path).unwrap_or_else(|error| eprintln!("left behind: {error}"));
        }
    }
}

/// Answers each TCP connection and each UDP packet at `at` with `<name> <client's address>`.
pub async fn serve(ns: &Namespace, at: SocketAddr, name: &str) {
    let listener = ns.tcp_listen(at).await.unwrap();
    let socket = ns.udp_bind(at).await.unwrap();
    let own = name.to_owned();
    tokio::spawn(async move {
        while let Ok((mut stream, from)) = listener.accept().await {
            let answer = format!("{own} {}", from.ip());
            outcome::may_be_broken_off(stream.write_all(answer.as_bytes()).await);
        }
    });
    let own = name.to_owned();
    tokio::spawn(async move {
        let mut buffer = [0; 512];
        while let Ok((_, from)) = socket.recv_from(&mut buffer).await {
            let answer = format!("{own} {}", from.ip());
            outcome::may_get_lost(socket.send_to(answer.as_bytes(), from).await);
        }
    });
}

/// One TCP connection: (server's name, client's address as the server saw it), or the error.
pub async fn ask(ns: &Namespace, to: SocketAddr) -> std::io::Result<(String, String)> {
    talk(ns.tcp_connect(to)).await
}

/// The same through one of the namespace's interfaces, whatever its routes say.
pub async fn ask_through(
    ns: &Namespace,
    interface: &str,
    to: SocketAddr,
) -> std::io::Result<(String, String)> {
    let socket = ns
        .call(TcpSocket::new_v4)
        .await
        .map_err(std::io::Error::other)??;
    socket.bind_device(Some(interface.as_bytes()))?;
    talk(socket.connect(to)).await
}

async fn talk(
    connecting: impl Future<Output = std::io::Result<TcpStream>>,
) -> std::io::Result<(String, String)> {
    let talk = async {
        let mut text = String::new();
        connecting.await?.read_to_string(&mut text).await?;
        Ok(split(&text))
    };
    tokio::time::timeout(Duration::from_secs(2), talk)
        .await
        .unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
}

/// The same by one UDP packet.
pub async fn ask_udp(ns: &Namespace, to: SocketAddr) -> std::io::Result<(String, String)> {
    let any = IpFamily::of(to.ip()).unspecified();
    let socket = ns.udp_bind(SocketAddr::new(any, 0)).await?;
    socket.connect(to).await?;
    socket.send(b"?").await?;
    let mut buffer = [0; 512];
    let n = tokio::time::timeout(Duration::from_secs(2), socket.recv(&mut buffer))
        .await
        .map_err(|_| std::io::ErrorKind::TimedOut)??;
    Ok(split(std::str::from_utf8(&buffer[..n]).unwrap()))
}

fn split(text: &str) -> (String, String) {
    let (name, from) = text.split_once(' ').unwrap_or((text, ""));
    (name.to_owned(), from.to_owned())
}

/// Tries until it holds or the deadline is past.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut check: impl FnMut() -> F) {
    let start = Instant::now();
    while !check().await {
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn is_refused(answer: &std::io::Result<(String, String)>) -> bool {
    answer
        .as_ref()
        .is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

/// Whoever answers.
pub async fn answers(what: &str, ns: &Namespace, to: SocketAddr) {
    eventually(what, || async { ask(ns, to).await.is_ok() }).await;
}

/// The server of that name answers.
pub async fn answered_by(what: &str, ns: &Namespace, to: SocketAddr, server: &str) {
    eventually(what, || async {
        ask(ns, to).await.is_ok_and(|(name, _)| name == server)
    })
    .await;
}

/// Connections are refused before long.
pub async fn refuses(what: &str, ns: &Namespace, to: SocketAddr) {
    eventually(what, || async { is_refused(&ask(ns, to).await) }).await;
}

/// The connection is refused now.
pub async fn refused(ns: &Namespace, to: SocketAddr) {
    let answer = ask(ns, to).await;
    assert!(is_refused(&answer), "{answer:?}");
}

/// The name of the server that answers now.
pub async fn server(ns: &Namespace, to: SocketAddr) -> String {
    ask(ns, to).await.unwrap().0
}
