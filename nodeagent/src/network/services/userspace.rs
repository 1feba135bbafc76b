//! Services without nftables: listeners on the services' own addresses (added to `lo`) and node ports, which carry bytes to an endpoint.
//!
//! Invariant: an address without endpoints has no listener, so that clients are refused at once; established connections outlive changes of the service.
//! What cannot be done this way (SCTP) is logged once a port. Follows, in purpose, the user-space proxier that upstream had until v1.25.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use ipnet::IpNet;
use parking_lot::Mutex;
use rand::seq::SliceRandom;
use tokio::{
    net::{TcpListener, TcpStream, UdpSocket},
    task::AbortHandle,
};

use super::{
    super::{
        Error,
        family::{self, IpFamily},
        link::Links,
        ns::Namespace,
    },
    node::Endpoint,
    plan::{PortPlan, Target},
};
use crate::network::protocol::Protocol;
use crate::outcome;

const LOOPBACK: u32 = 1;
/// A UDP client that is silent for so long is forgotten.
const UDP_IDLE: Duration = Duration::from_secs(60);
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Where a listener is; node ports are at the family's unspecified address.
type Place = (Protocol, IpAddr, u16);

/// The proxy of one node.
pub struct UserspaceProxy {
    node: Namespace,
    links: Links,
    /// Addresses that are on `lo` because of us.
    added: BTreeSet<IpAddr>,
    listeners: BTreeMap<Place, Listener>,
    refused: BTreeSet<Place>,
}

struct Listener {
    backends: Arc<Mutex<Backends>>,
    task: AbortHandle,
}

/// What a listener leads to.
#[derive(Clone, Debug, Default)]
struct Backends {
    endpoints: Vec<SocketAddr>,
    affinity: Option<Duration>,
    /// Clients that may connect; empty: all.
    sources: Vec<IpNet>,
    clients: HashMap<IpAddr, (SocketAddr, Instant)>,
}

impl Backends {
    /// The endpoints in the order in which to try them: a remembered one first, the others shuffled.
    fn order(&mut self, client: IpAddr, now: Instant) -> Vec<SocketAddr> {
        if !self.sources.is_empty() && !self.sources.iter().any(|net| net.contains(&client)) {
            return Vec::new();
        }
        let mut order = self.endpoints.clone();
        order.shuffle(&mut rand::rng());
        let Some(length) = self.affinity else {
            return order;
        };
        self.clients
            .retain(|_, (_, seen)| now.duration_since(*seen) < length);
        if let Some(at) = self
            .clients
            .get(&client)
            .and_then(|(e, _)| order.iter().position(|o| o == e))
        {
            order.swap(0, at);
        }
        order
    }

    fn remember(&mut self, client: IpAddr, endpoint: SocketAddr, now: Instant) {
        if self.affinity.is_some() {
            self.clients.insert(client, (endpoint, now));
        }
    }
}

impl UserspaceProxy {
    pub async fn start(node: Namespace) -> Result<Self, Error> {
        let links = Links::open(&node).await?;
        links.up(LOOPBACK).await?;
        Ok(UserspaceProxy {
            node,
            links,
            added: BTreeSet::new(),
            listeners: BTreeMap::new(),
            refused: BTreeSet::new(),
        })
    }

    /// Brings addresses and listeners to what the plans of all services say. Failures are logged, each for its address, and do not stop the others.
    pub async fn replace<'a>(&mut self, plans: impl Iterator<Item = &'a PortPlan>) {
        let wanted = wanted(plans);
        self.address(&wanted).await;
        self.listeners.retain(|place, listener| {
            let keep = wanted.get(place).is_some_and(|b| !b.endpoints.is_empty());
            if !keep {
                listener.task.abort();
            }
            keep
        });
        for (place, backends) in wanted.into_iter().filter(|(_, b)| !b.endpoints.is_empty()) {
            if let Some(listener) = self.listeners.get(&place) {
                let mut now = listener.backends.lock();
                let clients = std::mem::take(&mut now.clients);
                *now = Backends {
                    clients,
                    ..backends
                };
            } else if let Err(e) = self.listen(place, backends).await
                && self.refused.insert(place)
            {
                tracing::warn!(
                    "cannot proxy {} {}:{}: {e}",
                    place.0.name(),
                    place.1,
                    place.2
                );
            }
        }
    }

    /// Ends all listeners and takes the addresses away.
    pub async fn close(&mut self) {
        self.replace(std::iter::empty()).await;
    }

    async fn address(&mut self, wanted: &BTreeMap<Place, Backends>) {
        let wanted: BTreeSet<_> = wanted
            .keys()
            .map(|(_, ip, _)| *ip)
            .filter(|ip| !ip.is_unspecified())
            .collect();
        let there: BTreeSet<_> = match self.links.addresses().await {
            Ok(addresses) => addresses.into_iter().map(|(_, net)| net.addr()).collect(),
            Err(e) => return tracing::warn!("services' addresses: {e}"),
        };
        for ip in self.added.difference(&wanted).copied().collect::<Vec<_>>() {
            match self.links.delete_address(LOOPBACK, ip).await {
                Ok(()) => drop(self.added.remove(&ip)),
                Err(e) => tracing::warn!("{e}"),
            }
        }
        // An address that the node has anyway is not ours to take away later.
        for ip in wanted.iter().filter(|ip| !there.contains(ip)) {
            match self
                .links
                .add_address(LOOPBACK, *ip, family::alone(*ip).prefix_len())
                .await
            {
                Ok(()) => drop(self.added.insert(*ip)),
                Err(e) => tracing::warn!("{e}"),
            }
        }
    }

    async fn listen(&mut self, place: Place, backends: Backends) -> std::io::Result<()> {
        let (protocol, ip, port) = place;
        let at = SocketAddr::from((ip, port));
        let backends = Arc::new(Mutex::new(backends));
        let task = match protocol {
            Protocol::Tcp => skiff_watching::task::spawn(serve_tcp(
                self.node.clone(),
                self.node.tcp_listen(at).await?,
                backends.clone(),
            )),
            Protocol::Udp => skiff_watching::task::spawn(serve_udp(
                self.node.clone(),
                self.node.udp_bind(at).await?,
                backends.clone(),
            )),
            Protocol::Sctp => return Err(std::io::Error::other("SCTP needs nftables")),
        };
        self.listeners.insert(
            place,
            Listener {
                backends,
                task: task.abort_handle(),
            },
        );
        Ok(())
    }
}

fn wanted<'a>(plans: impl Iterator<Item = &'a PortPlan>) -> BTreeMap<Place, Backends> {
    let mut wanted = BTreeMap::new();
    for plan in plans {
        let backends = |target: Target, sources: &[IpNet]| Backends {
            endpoints: match target {
                Target::Endpoints(endpoints) => endpoints
                    .iter()
                    .map(|e: &Endpoint| SocketAddr::from((e.ip, e.port)))
                    .collect(),
                Target::Drop | Target::Reject => Vec::new(),
            },
            affinity: plan.affinity.map(|s| Duration::from_secs(s.into())),
            sources: sources.to_vec(),
            clients: HashMap::new(),
        };
        // The first service that wants a place has it.
        let mut want = |ip, port, backends| {
            wanted.entry((plan.protocol, ip, port)).or_insert(backends);
        };
        want(plan.cluster_ip, plan.port, backends(plan.internal(), &[]));
        plan.external_ips
            .iter()
            .for_each(|ip| want(*ip, plan.port, backends(plan.external(), &[])));
        plan.load_balancer_ips.iter().for_each(|ip| {
            want(
                *ip,
                plan.port,
                backends(plan.external(), &plan.load_balancer_sources),
            )
        });
        if let Some(port) = plan.node_port {
            want(
                plan.family().unspecified(),
                port,
                backends(plan.external(), &[]),
            );
        }
    }
    wanted
}

async fn serve_tcp(node: Namespace, listener: TcpListener, backends: Arc<Mutex<Backends>>) {
    loop {
        match listener.accept().await {
            Ok((stream, client)) => drop(skiff_watching::task::spawn(carry_tcp(
                node.clone(),
                stream,
                client.ip(),
                backends.clone(),
            ))),
            Err(e) => {
                tracing::warn!("accepting for a service: {e}");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// An endpoint that does not take the connection is passed over for the next.
async fn carry_tcp(
    node: Namespace,
    mut client: TcpStream,
    ip: IpAddr,
    backends: Arc<Mutex<Backends>>,
) {
    let order = backends.lock().order(ip, Instant::now());
    for endpoint in order {
        if let Ok(Ok(mut server)) =
            tokio::time::timeout(CONNECT_TIMEOUT, node.tcp_connect(endpoint)).await
        {
            backends.lock().remember(ip, endpoint, Instant::now());
            outcome::is_a_favour("TCP_NODELAY", client.set_nodelay(true));
            outcome::is_a_favour("TCP_NODELAY", server.set_nodelay(true));
            let copied = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            outcome::may_be_broken_off(copied);
            return;
        }
    }
}

async fn serve_udp(node: Namespace, socket: UdpSocket, backends: Arc<Mutex<Backends>>) {
    let socket = Arc::new(socket);
    let mut sessions: HashMap<SocketAddr, (SocketAddr, Arc<UdpSocket>, AbortOnDrop)> =
        HashMap::new();
    let mut buffer = vec![0; 65536];
    loop {
        let Ok((n, client)) = socket.recv_from(&mut buffer).await else {
            continue;
        };
        let known = sessions.get(&client).filter(|(endpoint, _, task)| {
            !task.0.is_finished() && backends.lock().endpoints.contains(endpoint)
        });
        let server = match known {
            Some((_, server, _)) => server.clone(),
            None => {
                sessions.retain(|_, (_, _, task)| !task.0.is_finished());
                let Some(endpoint) = backends
                    .lock()
                    .order(client.ip(), Instant::now())
                    .first()
                    .copied()
                else {
                    continue;
                };
                let Ok(server) = connect_udp(&node, endpoint).await else {
                    continue;
                };
                backends
                    .lock()
                    .remember(client.ip(), endpoint, Instant::now());
                let task =
                    skiff_watching::task::spawn(carry_back(server.clone(), socket.clone(), client))
                        .abort_handle();
                sessions.insert(client, (endpoint, server.clone(), AbortOnDrop(task)));
                server
            }
        };
        outcome::may_get_lost(server.send(&buffer[..n]).await);
    }
}

async fn connect_udp(node: &Namespace, endpoint: SocketAddr) -> std::io::Result<Arc<UdpSocket>> {
    let server = node
        .udp_bind(SocketAddr::new(
            IpFamily::of(endpoint.ip()).unspecified(),
            0,
        ))
        .await?;
    server.connect(endpoint).await?;
    Ok(Arc::new(server))
}

async fn carry_back(server: Arc<UdpSocket>, socket: Arc<UdpSocket>, client: SocketAddr) {
    let mut buffer = vec![0; 65536];
    while let Ok(Ok(n)) = tokio::time::timeout(UDP_IDLE, server.recv(&mut buffer)).await {
        outcome::may_get_lost(socket.send_to(&buffer[..n], client).await);
    }
}

struct AbortOnDrop(AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::services::rules::tests::plan;

    #[test]
    fn places() {
        let mut a = plan("a", 1, &[2, 3]);
        a.node_port = Some(30080);
        a.external_ips = vec![[1, 2, 3, 4].into()];
        let wanted = wanted([a.clone(), plan("b", 2, &[])].iter());
        let show: Vec<_> = wanted
            .iter()
            .map(|((_, ip, port), b)| format!("{ip}:{port} {}", b.endpoints.len()))
            .collect();
        assert_eq!(
            show,
            [
                "0.0.0.0:30080 2",
                "1.2.3.4:80 2",
                "10.96.0.1:80 2",
                "10.96.0.2:80 0"
            ]
        );
    }

    #[test]
    fn clients_are_remembered_and_checked() {
        let at = |n: u8| SocketAddr::from(([10, 0, 0, n], 80));
        let now = Instant::now();
        let client: IpAddr = [9, 9, 9, 9].into();
        let mut backends = Backends {
            endpoints: (1..=20).map(at).collect(),
            affinity: Some(Duration::from_secs(5)),
            ..Default::default()
        };
        backends.remember(client, at(7), now);
        for _ in 0..20 {
            assert_eq!(backends.order(client, now)[0], at(7));
        }
        backends.order(client, now + Duration::from_secs(6));
        assert!(backends.clients.is_empty(), "forgotten in time");
        backends.sources = vec!["10.0.0.0/8".parse().unwrap()];
        assert!(backends.order(client, now).is_empty());
        assert_eq!(backends.order([10, 1, 1, 1].into(), now).len(), 20);
    }
}
