//! The network of a node's pods: one bridge with the first address of each podCIDR as everybody's gateway, one veth pair a pod, addresses kept in files
//! (`pool.rs`).
//!
//! Invariant: pods hold their addresses alone (/32, /128) and reach even their neighbours through the gateway: all traffic then passes the node's IP layer, where services are translated both
//! ways, whether or not the kernel can filter bridged frames. Follows the `ptp` and `host-local` plugins of the CNI project in behaviour.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use ipnet::IpNet;
use tokio::sync::Mutex;

use super::{
    BRIDGE, Error, HostPort, PodNetwork, PodNetworks, failed,
    family::{self, IpFamily},
    forwarding, hostports,
    link::{Links, Peer},
    nft::Nft,
    ns::Namespace,
    policy::Walls,
    pool::{Pool, file_names, host_link},
};
use crate::outcome::IfThere;

const POD_LINK: &str = "eth0";

/// What a node's pod network is made from.
#[derive(Clone, Debug)]
pub struct PodNetworkConfig {
    /// The node's own namespace: that of a simulated machine, or the real machine's.
    pub node: Namespace,
    /// Folder of this node's network files (`netns/<uid>`, `pods/<uid>.json`).
    pub dir: PathBuf,
    /// `spec.podCIDRs` of the node: one or two, of different families. Pods have an address of each, in this order.
    pub pod_cidrs: Vec<IpNet>,
    /// Bytes; `None` takes that of the interface with the default route, or 1500.
    pub mtu: Option<u32>,
    /// What keeps network policies; `None` where nobody does.
    pub walls: Option<Walls>,
}

/// [`PodNetworks`] by bridge and veth pairs.
pub struct BridgeNetworks {
    node: Namespace,
    links: Links,
    bridge: u32,
    gateways: Vec<IpAddr>,
    mtu: u32,
    dir: PathBuf,
    pool: Mutex<Pool>,
    walls: Option<Walls>,
}

impl BridgeNetworks {
    /// Sets the bridge up (or finds it again) and reads which pods have which addresses. Needs root in the node's namespace.
    pub async fn start(config: PodNetworkConfig) -> Result<Self, Error> {
        let PodNetworkConfig {
            node,
            dir,
            pod_cidrs,
            mtu,
            walls,
        } = config;
        for folder in ["netns", "pods"] {
            std::fs::create_dir_all(dir.join(folder))
                .map_err(|e| failed(format!("make {}", dir.join(folder).display()), e))?;
        }
        let pool = Pool::load(&dir, &pod_cidrs)?;
        let links = Links::open(&node).await?;
        let mtu = match mtu {
            Some(mtu) => mtu,
            None => links.default_link().await?.map_or(1500, |(_, _, mtu)| mtu),
        };
        let gateways = pool.gateways();
        let bridge = links.bridge_down(BRIDGE, mtu).await?;
        let of = |family| {
            gateways
                .iter()
                .any(|net| IpFamily::of_network(*net) == family)
        };
        if of(IpFamily::V6) {
            forwarding::of_ipv6(&node, BRIDGE).await?;
        }
        links.raise_bridge(bridge, &gateways).await?;
        // Without the redirects' being off, a pod would be told to send to its neighbours directly, past the translation of services.
        let router = [
            "ip_forward:1",
            "conf/all/send_redirects:0",
            "conf/skiffbr0/send_redirects:0",
            "conf/skiffbr0/rp_filter:0",
        ];
        if of(IpFamily::V4) {
            node.sysctl(settings(IpFamily::V4, &router)).await?;
        }
        Ok(BridgeNetworks {
            node,
            links,
            bridge,
            gateways: gateways.iter().map(IpNet::addr).collect(),
            mtu,
            dir,
            pool: Mutex::new(pool),
            walls,
        })
    }

    fn netns(&self, uid: &str) -> PathBuf {
        self.dir.join("netns").join(uid)
    }

    async fn write_host_ports(&self, pool: &Pool) -> Result<(), Error> {
        for gateway in &self.gateways {
            let family = IpFamily::of(*gateway);
            let table = hostports::table(family, &pool.host_ports(family));
            let nft = Nft::find_for(&self.node, family).await?;
            nft.apply(table).await?;
        }
        Ok(())
    }

    async fn plug(&self, uid: &str, pod: &Namespace, ips: &[IpAddr]) -> Result<(), Error> {
        let name = host_link(uid);
        let inside = Links::open(pod).await?;
        let mut link = inside.index(POD_LINK).await?;
        if link.is_none() {
            let peer = Peer {
                name: POD_LINK,
                namespace: pod,
                addresses: ips,
            };
            self.links.cable(&name, self.bridge, peer, self.mtu).await?;
            self.links.hairpin(self.links.need(&name).await?).await?;
            link = Some(inside.need(POD_LINK).await?);
        }
        let link = link.unwrap_or_default();
        // As container runtimes do: unprivileged users may ping and listen on low ports, for inside the pod nobody else owns those.
        let pod_settings = [
            "conf/all/accept_redirects:0",
            "conf/eth0/accept_redirects:0",
            "ip_unprivileged_port_start:0",
            "ping_group_range:0\t2147483647",
        ];
        let mut all = settings(IpFamily::V4, &pod_settings);
        if ips.iter().any(IpAddr::is_ipv6) {
            all.extend(settings(IpFamily::V6, &POD_SETTINGS_OF_IPV6));
        }
        pod.sysctl(all).await?;
        inside.up(1).await?;
        for ip in ips {
            let length = family::alone(*ip).prefix_len();
            inside.add_address(link, *ip, length).await?;
        }
        inside.up(link).await?;
        let of_pod = |gateway: &&IpAddr| ips.iter().any(|ip| IpFamily::of(*ip).has(gateway));
        for gateway in self.gateways.iter().filter(of_pod) {
            let anywhere = IpFamily::of(*gateway).everything();
            inside.route(family::alone(*gateway), None, link).await?;
            inside.route(anywhere, Some(*gateway), link).await?;
        }
        inside.carries(link).await?;
        self.links.carries(self.links.need(&name).await?).await?;
        // the first port brings it up
        self.links.carries(self.bridge).await
    }
}

#[async_trait]
impl PodNetworks for BridgeNetworks {
    async fn setup(&self, pod_uid: &str) -> Result<PodNetwork, Error> {
        check_uid(pod_uid)?;
        let ips = self.pool.lock().await.take(pod_uid)?;
        let path = self.netns(pod_uid);
        let plugged = async {
            let pod = Namespace::make(&path).await?;
            self.plug(pod_uid, &pod, &ips).await
        };
        let raised = async {
            match &self.walls {
                Some(walls) => walls.raise(pod_uid, ips.clone(), &host_link(pod_uid)).await,
                None => Ok(()),
            }
        };
        let (plugged, raised) = tokio::join!(plugged, raised);
        plugged.and(raised)?;
        Ok(PodNetwork { netns: path, ips })
    }

    async fn teardown(&self, pod_uid: &str) -> Result<(), Error> {
        check_uid(pod_uid)?;
        let unplugged = self.links.delete(&host_link(pod_uid)).await;
        let deleted = Namespace::delete(&self.netns(pod_uid));
        unplugged.and(deleted)?;
        if let Some(walls) = &self.walls {
            walls.raze(pod_uid).await?;
        }
        let mut pool = self.pool.lock().await;
        let had_ports = pool
            .records
            .get(pod_uid)
            .is_some_and(|r| !r.host_ports.is_empty());
        pool.give_back(pod_uid)?;
        if had_ports {
            self.write_host_ports(&pool).await
        } else {
            Ok(())
        }
    }

    async fn set_host_ports(&self, pod_uid: &str, ports: &[HostPort]) -> Result<(), Error> {
        let mut pool = self.pool.lock().await;
        if pool
            .records
            .get(pod_uid)
            .is_some_and(|r| r.host_ports == ports)
        {
            // After the agent's restart the kernel still has them; after the machine's it does not.
            if ports.is_empty() {
                return Ok(());
            }
        } else {
            pool.set_host_ports(pod_uid, ports)?;
        }
        self.write_host_ports(&pool).await
    }

    async fn list(&self) -> Result<Vec<String>, Error> {
        Ok(self.pool.lock().await.records.keys().cloned().collect())
    }
}

/// Takes away the bridge, all pods' interfaces and namespaces of a node whose network files are in `dir`; for a machine that leaves its cluster.
pub async fn clear(node: &Namespace, dir: &Path) -> Result<(), Error> {
    let links = Links::open(node).await?;
    for uid in file_names(&dir.join("netns"))? {
        links.delete(&host_link(&uid)).await?;
        Namespace::delete(&dir.join("netns").join(uid))?;
    }
    links.delete(BRIDGE).await?;
    match Nft::find(node).await {
        Ok(nft) => nft.clear_both(hostports::TABLE).await?,
        Err(Error::Unsupported { .. }) => {}
        Err(e) => return Err(e),
    }
    let removed = std::fs::remove_dir_all(dir).if_there();
    removed
        .map(drop)
        .map_err(|e| failed(format!("remove {}", dir.display()), e))
}

fn check_uid(uid: &str) -> Result<(), Error> {
    let fine = !uid.is_empty()
        && !uid.starts_with('.')
        && uid
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    if fine {
        Ok(())
    } else {
        Err(failed(
            format!("use {uid:?} as a pod's uid"),
            "it is not a file name",
        ))
    }
}

/// What a pod's interface is told of IPv6 before it comes up: its addresses are its own, to be used at once, and nobody's advertisements change its routes.
const POD_SETTINGS_OF_IPV6: [&str; 4] = [
    "conf/eth0/accept_dad:0",
    "conf/eth0/accept_ra:0",
    "conf/eth0/accept_redirects:0",
    "conf/all/accept_redirects:0",
];

fn settings(family: IpFamily, all: &[&'static str]) -> Vec<(String, &'static str)> {
    let folder = match family {
        IpFamily::V4 => "ipv4",
        IpFamily::V6 => "ipv6",
    };
    all.iter()
        .filter_map(|s| s.split_once(':'))
        .map(|(key, value)| (format!("net/{folder}/{key}"), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_links() {
        assert_eq!(host_link("a").len(), 15);
        assert_ne!(host_link("a"), host_link("b"));
        assert!(
            check_uid("../x").is_err() && check_uid("").is_err() && check_uid("0f-1.a").is_ok()
        );
    }
}
