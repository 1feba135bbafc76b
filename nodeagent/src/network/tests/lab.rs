//! A host, nodes and pods to test in. All of it goes with the `Lab`, also when a test panics, because namespaces die with their last handle.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::{Duration, Instant},
};

use ipnet::{IpNet, Ipv4Net};
use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use super::super::{
    PodNetwork, PodNetworks,
    cluster::{ClusterNetwork, ClusterNetworkConfig, NodeNetwork},
    family::{IpFamily, number},
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
    /// Those of its pods.
    pub families: Vec<IpFamily>,
    /// The one that is tried.
    pub family: IpFamily,
}

pub struct Node {
    pub name: String,
    pub net: NodeNetwork,
    pub pods: BridgeNetworks,
}

/// A pod with an echo server of sorts: each connection is told the client's address and the server's name.
pub struct Pod {
    pub ns: Namespace,
    /// That of the family that is tried.
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

/// A test, once for IPv4 alone and once for IPv6 beside it.
macro_rules! in_both_families {
    ($name:ident) => {
        mod $name {
            use crate::network::family::IpFamily;

            #[tokio::test(flavor = "multi_thread")]
            async fn ipv4() {
                super::$name(IpFamily::V4).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn ipv6() {
                super::$name(IpFamily::V6).await;
            }
        }
    };
}
pub(crate) use in_both_families;

/// What an address of IPv4 is in a family: those of IPv6 end with its bytes.
pub fn address(family: IpFamily, ip: impl Into<Ipv4Addr>) -> IpAddr {
    let ip = ip.into();
    match family {
        IpFamily::V4 => ip.into(),
        IpFamily::V6 => {
            let [a, b, c, d] = ip.octets();
            let last = [u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])];
            [0xfd00, 0, 0, 0, 0, 0, last[0], last[1]].into()
        }
    }
}

/// What a network of IPv4 is in a family; that of everything is that of everything.
pub fn network(family: IpFamily, net: &str) -> IpNet {
    let net: Ipv4Net = net.parse().unwrap();
    match family {
        IpFamily::V4 => net.into(),
        IpFamily::V6 if net.prefix_len() == 0 => family.everything(),
        IpFamily::V6 => IpNet::new(address(family, net.addr()), 96 + net.prefix_len()).unwrap(),
    }
}

/// What is written for IPv4, in a family: whichever texts are addresses or networks of it.
pub fn translated(family: IpFamily, mut value: Value) -> Value {
    match &mut value {
        Value::String(text) if family == IpFamily::V6 => {
            if let Ok(ip) = text.parse::<Ipv4Addr>() {
                *text = address(family, ip).to_string();
            } else if text.parse::<Ipv4Net>().is_ok() {
                *text = network(family, text).to_string();
            } else if text == "::/0" {
                *text = "0.0.0.0/0".into();
            }
        }
        Value::Array(all) => all
            .iter_mut()
            .for_each(|one| *one = translated(family, one.take())),
        Value::Object(all) => all
            .values_mut()
            .for_each(|one| *one = translated(family, one.take())),
        _ => {}
    }
    value
}

/// The podCIDRs of a node of a cluster with these families.
pub fn pod_cidrs(families: &[IpFamily], number: usize) -> Vec<IpNet> {
    let net = format!("10.244.{number}.0/24");
    families
        .iter()
        .map(|family| network(*family, &net))
        .collect()
}

/// Those of all pods, and those of services.
pub const PODS: &str = "10.244.0.0/16";
pub const SERVICES: &str = "10.96.0.0/16";

pub fn networks(families: &[IpFamily], net: &str) -> Vec<IpNet> {
    families
        .iter()
        .map(|family| network(*family, net))
        .collect()
}

/// Those of a cluster in which a family is tried.
fn beside(family: IpFamily) -> &'static [IpFamily] {
    match family {
        IpFamily::V4 => &[IpFamily::V4],
        IpFamily::V6 => &IpFamily::ALL,
    }
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
        Self::walled(IpFamily::V4, nodes, &[]).await
    }

    /// The same whose nodes' pods have these walls, in order.
    pub async fn walled(family: IpFamily, nodes: usize, walls: &[Walls]) -> Self {
        Self::of(beside(family), nodes, walls).await.trying(family)
    }

    /// The same whose pods have addresses of these families; of these the first is tried.
    pub async fn of(families: &[IpFamily], nodes: usize, walls: &[Walls]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let host = Namespace::make(&dir.path().join("host")).await.unwrap();
        Links::open(&host).await.unwrap().up(1).await.unwrap();
        Self::on(host, dir, families, nodes, walls).await
    }

    pub fn trying(mut self, family: IpFamily) -> Self {
        self.family = family;
        self
    }

    /// The address of a node.
    pub fn node_ip(&self, node: usize) -> IpAddr {
        let ips = &self.nodes[node].net.ips;
        self.family.addresses(ips)[0]
    }

    /// The host's among those of the nodes.
    pub fn gateway(&self) -> IpAddr {
        let number = number(self.node_ip(0)) - 1;
        self.family.address(number)
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
            families: families.to_vec(),
            family: families[0],
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
            ip: self.family.addresses(&net.ips)[0],
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
