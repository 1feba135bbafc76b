//! The host's side of a cluster of several nodes on one machine: a bridge, a namespace and a veth pair a node, routes to their pods and services, and a
//! way out to the world.
//!
//! Invariant: all of it is found again by name from the instance and its run folder alone, so that `clear` works after a `kill -9`, any number of times.
//! IP forwarding is turned on and stays on, as other programs may have come to rely on it meanwhile.

mod state;
mod turn;

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use ipnet::{IpNet, Ipv4Net};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use self::state::{NodeState, State, free_range, free_range6, overlap, wanted_routes};
use super::{
    Error, failed,
    family::IpFamily,
    forwarding,
    link::{Links, Peer},
    nft::Nft,
    ns::Namespace,
    outside,
};
use crate::mounts::{self, Mount};

const NODE_LINK: &str = "eth0";

/// What a cluster's network on this host is made from.
#[derive(Clone, Debug)]
pub struct ClusterNetworkConfig {
    /// The machine's own namespace.
    pub host: Namespace,
    /// Tells clusters on one host apart; any text.
    pub instance: String,
    /// Folder for the instance's files; its network namespaces are mounted below `netns/`.
    pub run_dir: PathBuf,
    /// Name of the bridge, at most 15 bytes; `None` makes one from the instance.
    pub bridge: Option<String>,
    /// Addresses of the nodes; `None` picks a range that nothing on this host leads to.
    pub node_cidr: Option<Ipv4Net>,
    /// The ranges of pods and services, which must not overlap with that of the nodes. Nodes have addresses of IPv6 if one of them is of it.
    pub cluster_cidrs: Vec<IpNet>,
    /// Reached through the first node, so that ClusterIPs answer from the host.
    pub service_cidrs: Vec<IpNet>,
    /// Keep nodes' namespaces, addresses and routes of an earlier run, because pods run in them; otherwise leftovers are cleared first.
    pub resume: bool,
}

/// One node as its agent needs it.
#[derive(Clone, Debug)]
pub struct NodeNetwork {
    pub ns: Namespace,
    pub path: PathBuf,
    /// One of IPv4 it always has.
    pub ip: Ipv4Addr,
    /// One of each family that the cluster has, in its order.
    pub ips: Vec<IpAddr>,
    /// The host's address on the bridge, where nodes and pods reach the API server.
    pub gateway: Ipv4Addr,
}

/// The host's side. All calls are idempotent.
pub struct ClusterNetwork {
    names: Names,
    run_dir: PathBuf,
    service_cidrs: Vec<IpNet>,
    /// Those of its pods and services, each once.
    families: Vec<IpFamily>,
    host: Namespace,
    links: Links,
    nft: Option<Nft>,
    bridge: u32,
    mtu: u32,
    state: Mutex<State>,
}

/// Names made from the instance's, so that they can be made again by whoever clears up.
#[derive(Clone, Debug)]
pub(super) struct Names {
    /// Six hexadecimal digits.
    pub(super) hash: String,
}

impl Names {
    pub(super) fn new(instance: &str) -> Self {
        Names {
            hash: hex::encode(&Sha256::digest(instance.as_bytes())[..3]),
        }
    }

    fn bridge(&self) -> String {
        format!("skiff-{}", self.hash)
    }

    /// Prefix of the host's ends of the nodes' veth pairs; with an index below 10,000 they have at most 15 bytes.
    fn veth_prefix(&self) -> String {
        format!("skiff{}", self.hash)
    }

    fn veth(&self, index: u32) -> String {
        format!("{}{index}", self.veth_prefix())
    }

    /// Of the host's routes to the instance's pods and services, so that they do not take the place of another's to the same networks.
    fn metric(&self) -> u32 {
        1024 + self.number()
    }

    /// The hash as a number, of 24 bits.
    fn number(&self) -> u32 {
        u32::from_str_radix(&self.hash, 16).unwrap_or_default()
    }
}

/// Pulls the cable of a node, or plugs it in again, for another process than the one that made the network.
pub async fn set_cable(
    instance: &str,
    run_dir: &Path,
    node: &str,
    plugged: bool,
) -> Result<(), Error> {
    let state = State::load(run_dir)?;
    let index = state.and_then(|state| state.nodes.get(node).map(|n| n.index));
    let index = index.ok_or_else(|| {
        failed(
            format!("find the cable of node {node}"),
            "there is no such node",
        )
    })?;
    let links = Links::open(&Namespace::current()?).await?;
    let link = links.need(&Names::new(instance).veth(index)).await?;
    match plugged {
        true => links.up(link).await,
        false => links.down(link).await,
    }
}

/// Whether the range of an earlier run can be had again: its bridge is still there, or nobody has taken it since.
async fn is_still_ours(state: &State, links: &Links) -> Result<bool, Error> {
    if links.index(&state.bridge).await?.is_some() {
        return Ok(true);
    }
    let taken = links.taken().await?;
    let mine: Vec<IpNet> = state.places(1).iter().map(IpNet::trunc).collect();
    Ok(!taken.iter().any(|one| mine.iter().any(|m| overlap(one, m))))
}

impl ClusterNetwork {
    /// Makes the bridge and the way out. Needs root and network namespaces.
    pub async fn ensure(config: ClusterNetworkConfig) -> Result<Self, Error> {
        super::ns::supported().await?;
        let names = Names::new(&config.instance);
        let host = config.host;
        let links = Links::open(&host).await?.with_metric(names.metric());
        if !config.resume {
            clear_all(&config.run_dir, &names, &host, &links).await?;
        }
        let picking = turn::wait(&host).await?;
        let mut state = match State::load(&config.run_dir)? {
            Some(state) if is_still_ours(&state, &links).await? => state,
            earlier => {
                if earlier.is_some() {
                    clear_all(&config.run_dir, &names, &host, &links).await?;
                }
                let cidr = match config.node_cidr {
                    Some(cidr) => cidr,
                    None => free_range(&links.taken().await?, &config.cluster_cidrs)?,
                };
                State {
                    bridge: config.bridge.unwrap_or_else(|| names.bridge()),
                    cidr,
                    cidr6: None,
                    nodes: BTreeMap::new(),
                    balanced: BTreeMap::new(),
                }
            }
        };
        state.cidr = state.cidr.trunc();
        let families = families(&config.cluster_cidrs);
        if families.contains(&IpFamily::V6) && state.cidr6.is_none() {
            let mut taken = links.taken().await?;
            taken.extend(&config.cluster_cidrs);
            state.cidr6 = Some(free_range6(names.number(), &taken)?);
        }
        let way_out = links.default_link().await?;
        let mtu = way_out.as_ref().map_or(1500, |(_, _, mtu)| *mtu);
        let bridge = links.bridge_down(&state.bridge, mtu).await?;
        if state.cidr6.is_some() {
            forwarding::of_ipv6(&host, &state.bridge).await?;
        }
        links.raise_bridge(bridge, &state.places(1)).await?;
        drop(picking);
        host.sysctl(vec![("net/ipv4/ip_forward".into(), "1")])
            .await?;
        let nft = match Nft::find(&host).await {
            Ok(nft) => Some(nft),
            Err(e) => {
                tracing::warn!(
                    "{e}. Nodes and pods cannot reach the world outside of this machine."
                );
                None
            }
        };
        let this = ClusterNetwork {
            names,
            run_dir: config.run_dir,
            service_cidrs: config.service_cidrs,
            families,
            host,
            links,
            nft,
            bridge,
            mtu,
            state: Mutex::new(state),
        };
        let state = this.state.lock().await.clone();
        state.save(&this.run_dir)?;
        this.open_way_out(&state).await?;
        this.routes(&state).await?;
        Ok(this)
    }

    /// The host's address on the nodes' network.
    pub async fn gateway(&self) -> Ipv4Addr {
        self.state.lock().await.gateway()
    }

    /// The host's addresses there, one of each family that the cluster has, in its order.
    pub async fn gateways(&self) -> Vec<IpAddr> {
        self.of_cluster(self.state.lock().await.places(1))
    }

    /// The interface that everything of the cluster lies behind. Where several clusters on one host have the same addresses, only a socket that is
    /// bound to it is sure to reach this one.
    pub async fn bridge(&self) -> String {
        self.state.lock().await.bridge.clone()
    }

    /// The nodes' network.
    pub async fn cidr(&self) -> Ipv4Net {
        self.state.lock().await.cidr
    }

    /// Makes a node's namespace with `eth0`, an address that stays the node's own, and a default route through the host.
    pub async fn add_node(&self, name: &str) -> Result<NodeNetwork, Error> {
        let mut state = self.state.lock().await;
        let index = match state.nodes.get(name) {
            Some(node) => node.index,
            None => {
                let index = state.free_index();
                let index = index.ok_or_else(|| Error::Exhausted(state.cidr.to_string()))?;
                let node = NodeState {
                    index,
                    pod_cidrs: Vec::new(),
                };
                state.nodes.insert(name.to_owned(), node);
                state.save(&self.run_dir)?;
                index
            }
        };
        let (ip, gateway) = (state.ip(index), state.gateway());
        let (places, gateways) = (state.places(index), state.places(1));
        let path = self.node_path(name);
        let ns = Namespace::make(&path).await?;
        let inside = Links::open(&ns).await?;
        let new = inside.index(NODE_LINK).await?.is_none();
        if new {
            let peer = Peer {
                name: NODE_LINK,
                namespace: &ns,
                addresses: &[ip.into()],
            };
            let name = self.names.veth(index);
            self.links.cable(&name, self.bridge, peer, self.mtu).await?;
        }
        let link = inside.need(NODE_LINK).await?;
        let settings = [
            "ip_forward",
            "conf/all/accept_redirects",
            "conf/eth0/accept_redirects",
        ]
        .map(|k| format!("net/ipv4/{k}"));
        ns.sysctl(settings.into_iter().zip(["1", "0", "0"]).collect())
            .await?;
        // Pods' traffic is routed here, never just bridged: filtering it twice would only cost. Where this is not the namespace's own, it is not there.
        ns.sysctl_if_there(vec![
            ("net/bridge/bridge-nf-call-iptables".into(), "0"),
            ("net/bridge/bridge-nf-call-ip6tables".into(), "0"),
        ])
        .await?;
        if state.cidr6.is_some() {
            forwarding::of_ipv6(&ns, NODE_LINK).await?;
        }
        inside.up(1).await?;
        for place in places {
            inside
                .add_address(link, place.addr(), place.prefix_len())
                .await?;
        }
        inside.up(link).await?;
        for gateway in gateways {
            let anywhere = IpFamily::of_network(gateway).everything();
            inside.route(anywhere, Some(gateway.addr()), link).await?;
        }
        if new {
            // one that was there may have its cable pulled
            inside.carries(link).await?;
            let outside = self.links.need(&self.names.veth(index)).await?;
            self.links.carries(outside).await?;
            self.links.carries(self.bridge).await?;
        }
        self.routes(&state).await?;
        Ok(NodeNetwork {
            ns,
            path,
            ip,
            ips: self.of_cluster(state.places(index)),
            gateway,
        })
    }

    /// Of a node's addresses those that the cluster has, in its order.
    fn of_cluster(&self, places: Vec<IpNet>) -> Vec<IpAddr> {
        let of = |family: &IpFamily| family.network(&places).map(|net| net.addr());
        self.families.iter().filter_map(of).collect()
    }

    /// Leads the host to a node's pods. An empty list takes the routes away.
    pub async fn set_pod_cidrs(&self, node: &str, cidrs: Vec<IpNet>) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let Some(entry) = state.nodes.get_mut(node) else {
            return Err(failed(
                format!("route to the pods of node {node}"),
                "there is no such node",
            ));
        };
        if entry.pod_cidrs != cidrs {
            entry.pod_cidrs = cidrs;
            state.save(&self.run_dir)?;
        }
        self.open_way_out(&state).await?;
        self.routes(&state).await
    }

    /// The addresses that may be given to services, of each family that the cluster has.
    pub async fn balancer_addresses(&self) -> Vec<IpAddr> {
        let state = self.state.lock().await;
        let ours = |ip: &IpAddr| self.families.contains(&IpFamily::of(*ip));
        state.for_services().filter(ours).collect()
    }

    /// Leads the host to these addresses of services, each through a node, and to no other. A node that is not there leads nowhere.
    pub async fn set_balanced(&self, ways: BTreeMap<IpAddr, String>) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        if state.balanced != ways {
            state.balanced = ways;
            state.save(&self.run_dir)?;
        }
        self.routes(&state).await
    }

    /// Pulls the node's cable.
    pub async fn cut(&self, node: &str) -> Result<(), Error> {
        self.links.down(self.cable(node).await?).await
    }

    /// Plugs the node's cable in again.
    pub async fn mend(&self, node: &str) -> Result<(), Error> {
        self.links.up(self.cable(node).await?).await
    }

    async fn cable(&self, node: &str) -> Result<u32, Error> {
        let index = self.state.lock().await.nodes.get(node).map(|n| n.index);
        let index = index.ok_or_else(|| {
            failed(
                format!("find the cable of node {node}"),
                "there is no such node",
            )
        })?;
        self.links.need(&self.names.veth(index)).await
    }

    /// Takes a node away with all that is in its namespace.
    pub async fn remove_node(&self, name: &str) -> Result<(), Error> {
        let mut state = self.state.lock().await;
        let Some(node) = state.nodes.remove(name) else {
            return Ok(());
        };
        self.links.delete(&self.names.veth(node.index)).await?;
        Namespace::delete(&self.node_path(name))?;
        state.save(&self.run_dir)?;
        self.open_way_out(&state).await?;
        self.routes(&state).await
    }

    /// Takes all of it away.
    pub async fn remove(self) -> Result<(), Error> {
        let ClusterNetwork {
            names,
            run_dir,
            host,
            links,
            ..
        } = self;
        clear_all(&run_dir, &names, &host, &links).await
    }

    fn node_path(&self, name: &str) -> PathBuf {
        self.run_dir.join("netns").join(name)
    }

    /// Brings the host's routes to what the state wants.
    async fn routes(&self, state: &State) -> Result<(), Error> {
        let wanted = wanted_routes(state, &self.service_cidrs, self.bridge);
        let there: Vec<_> = self
            .links
            .own_routes()
            .await?
            .into_iter()
            .filter(|r| r.link == self.bridge)
            .collect();
        for stale in there.iter().filter(|r| wanted.iter().all(|w| w.to != r.to)) {
            self.links.delete_route(stale).await?;
        }
        for missing in wanted.iter().filter(|w| !there.contains(w)) {
            self.links
                .route(missing.to, missing.via, missing.link)
                .await?;
        }
        Ok(())
    }

    async fn open_way_out(&self, state: &State) -> Result<(), Error> {
        let Some(nft) = &self.nft else { return Ok(()) };
        let pods = state.nodes.values().flat_map(|n| &n.pod_cidrs);
        let nodes = [IpNet::V4(state.cidr)].into_iter();
        let nodes = nodes.chain(state.cidr6.map(IpNet::V6));
        let inside: Vec<_> = nodes.chain(pods.copied()).collect();
        let gateways = [IpAddr::V4(state.gateway())].into_iter();
        for gateway in gateways.chain(state.ip6(1).map(IpAddr::V6)) {
            let tag = self.names.bridge();
            outside::open(nft, &tag, &state.bridge, gateway, &inside).await?;
        }
        Ok(())
    }
}

/// Each once, in their order; that of IPv4 where there are none.
fn families(networks: &[IpNet]) -> Vec<IpFamily> {
    let mut all = Vec::new();
    for family in networks.iter().map(|net| IpFamily::of_network(*net)) {
        if !all.contains(&family) {
            all.push(family);
        }
    }
    if all.is_empty() {
        all.push(IpFamily::V4);
    }
    all
}

/// Whether an instance's network was made and not taken away again.
pub fn is_there(run_dir: &Path) -> bool {
    State::is_kept(run_dir)
}

/// Takes away what an instance left behind, also after it was killed: interfaces, tables, mounted namespaces, its `network.json`.
pub async fn clear(host: &Namespace, run_dir: &Path, instance: &str) -> Result<(), Error> {
    let links = Links::open(host).await?;
    clear_all(run_dir, &Names::new(instance), host, &links).await
}

/// Goes on after a failure and reports the first one.
async fn clear_all(
    run_dir: &Path,
    names: &Names,
    host: &Namespace,
    links: &Links,
) -> Result<(), Error> {
    let mut first = Ok(());
    let mut note = |result: Result<(), Error>| {
        if let Err(e) = result {
            tracing::warn!("clearing the cluster's network: {e}");
            if first.is_ok() {
                first = Err(e);
            }
        }
    };
    let bridge = State::load(run_dir)?.map_or_else(|| names.bridge(), |s| s.bridge);
    for link in links.all().await?.into_keys() {
        if link == bridge
            || link
                .strip_prefix(&names.veth_prefix())
                .is_some_and(|i| i.parse::<u32>().is_ok())
        {
            note(links.delete(&link).await);
        }
    }
    for path in namespaces_below(run_dir)? {
        note(Namespace::delete(&path));
    }
    match Nft::find(host).await {
        Ok(nft) => note(outside::close(&nft, &names.bridge()).await),
        Err(Error::Unsupported { .. }) => {}
        Err(e) => note(Err(e)),
    }
    note(State::forget(run_dir));
    first
}

/// Mounted network namespaces below a folder, those of nodes and of pods.
pub(super) fn namespaces_below(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let below = mounts::below(dir).map_err(|e| failed("read the mounts", e))?;
    let is_namespace = |of: &Mount| of.kind == "nsfs" && of.root.starts_with("net:[");
    let namespaces = below.into_iter().filter(is_namespace);
    Ok(namespaces.map(|of| of.point).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit_the_kernel() {
        let names = Names::new("default");
        assert!(names.bridge().len() <= 15 && names.veth(9999).len() <= 15);
        assert_ne!(Names::new("a").bridge(), Names::new("b").bridge());
    }
}
