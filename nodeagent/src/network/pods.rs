//! The network of a node's pods: one bridge with the first address of the podCIDR as everybody's gateway, one veth pair a pod, addresses kept in files.
//!
//! Invariant: an address belongs to at most one pod, also across restarts of the agent, and is given out again only after all the others had their turn.
//! Pods hold a /32 and reach even their neighbours through the gateway: all traffic then passes the node's IP layer, where services are translated both
//! ways, whether or not the kernel can filter bridged frames. Follows the `ptp` and `host-local` plugins of the CNI project in behaviour.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::{Path, PathBuf},
};

use async_trait::async_trait;
use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::Mutex;

use super::{
    Error, HostPort, PodNetwork, PodNetworks, failed, hostports,
    link::{Links, Peer},
    nft::Nft,
    ns::Namespace,
    policy::Walls,
};
use crate::{disk, outcome::IfThere};

pub const BRIDGE: &str = "skiffbr0";
const POD_LINK: &str = "eth0";

/// What a node's pod network is made from.
#[derive(Clone, Debug)]
pub struct PodNetworkConfig {
    /// The node's own namespace: that of a simulated machine, or the real machine's.
    pub node: Namespace,
    /// Folder of this node's network files (`netns/<uid>`, `pods/<uid>.json`).
    pub dir: PathBuf,
    /// `spec.podCIDR` of the node. IPv6 is refused.
    pub pod_cidr: IpNet,
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
    gateway: Ipv4Addr,
    mtu: u32,
    dir: PathBuf,
    pool: Mutex<Pool>,
    walls: Option<Walls>,
}

/// `pods/<uid>.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    ip: Ipv4Addr,
    #[serde(default)]
    host_ports: Vec<HostPort>,
}

impl BridgeNetworks {
    /// Sets the bridge up (or finds it again) and reads which pods have which addresses. Needs root in the node's namespace.
    pub async fn start(config: PodNetworkConfig) -> Result<Self, Error> {
        let PodNetworkConfig {
            node,
            dir,
            pod_cidr,
            mtu,
            walls,
        } = config;
        let IpNet::V4(cidr) = pod_cidr else {
            return Err(Error::Unsupported {
                what: "IPv6 pod networks".into(),
                hint: format!("give the node an IPv4 podCIDR instead of {pod_cidr}"),
            });
        };
        for folder in ["netns", "pods"] {
            std::fs::create_dir_all(dir.join(folder))
                .map_err(|e| failed(format!("make {}", dir.join(folder).display()), e))?;
        }
        let pool = Pool::load(&dir, cidr)?;
        let links = Links::open(&node).await?;
        let mtu = match mtu {
            Some(mtu) => mtu,
            None => links.default_link().await?.map_or(1500, |(_, _, mtu)| mtu),
        };
        let gateway = pool.gateway();
        let bridge = links
            .bridge(BRIDGE, mtu, gateway, cidr.prefix_len())
            .await?;
        // Without the redirects' being off, a pod would be told to send to its neighbours directly, past the translation of services.
        let router = [
            "ip_forward:1",
            "conf/all/send_redirects:0",
            "conf/skiffbr0/send_redirects:0",
            "conf/skiffbr0/rp_filter:0",
        ];
        node.sysctl(ipv4(&router)).await?;
        Ok(BridgeNetworks {
            node,
            links,
            bridge,
            gateway,
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
        Nft::find(&self.node)
            .await?
            .apply(hostports::table(&pool.host_ports()))
            .await
    }

    async fn plug(&self, uid: &str, pod: &Namespace, ip: Ipv4Addr) -> Result<(), Error> {
        let name = host_link(uid);
        let inside = Links::open(pod).await?;
        let mut link = inside.index(POD_LINK).await?;
        if link.is_none() {
            let peer = Peer {
                name: POD_LINK,
                namespace: pod,
                address: ip,
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
        pod.sysctl(ipv4(&pod_settings)).await?;
        inside.up(1).await?;
        inside.add_address(link, ip.into(), 32).await?;
        inside.up(link).await?;
        let (gateway, anywhere) = (IpAddr::from(self.gateway), IpNet::V4(Ipv4Net::default()));
        inside.route(IpNet::from(gateway), None, link).await?;
        inside.route(anywhere, Some(gateway), link).await?;
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
        let ip = self.pool.lock().await.take(pod_uid)?;
        let path = self.netns(pod_uid);
        let plugged = async {
            let pod = Namespace::make(&path).await?;
            self.plug(pod_uid, &pod, ip).await
        };
        let raised = async {
            match &self.walls {
                Some(walls) => walls.raise(pod_uid, ip, &host_link(pod_uid)).await,
                None => Ok(()),
            }
        };
        let (plugged, raised) = tokio::join!(plugged, raised);
        plugged.and(raised)?;
        Ok(PodNetwork {
            netns: path,
            ips: vec![ip.into()],
        })
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

/// The pods whose networks' files are in `dir`: uid, address, and the node's end of the cable.
pub fn known(dir: &Path) -> Result<Vec<(String, Ipv4Addr, String)>, Error> {
    let records = records(dir)?.into_iter();
    let of = |(uid, record): (String, Record)| {
        let link = host_link(&uid);
        (uid, record.ip, link)
    };
    Ok(records.map(of).collect())
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
        Ok(nft) => nft.apply(hostports::table(&BTreeMap::new())).await?,
        Err(Error::Unsupported { .. }) => {}
        Err(e) => return Err(e),
    }
    let removed = std::fs::remove_dir_all(dir).if_there();
    removed
        .map(drop)
        .map_err(|e| failed(format!("remove {}", dir.display()), e))
}

/// The node's end of a pod's veth pair: 15 characters, the most that the kernel takes.
fn host_link(uid: &str) -> String {
    format!(
        "skiffp{}",
        &hex::encode(Sha256::digest(uid.as_bytes()))[..9]
    )
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

fn ipv4(settings: &[&'static str]) -> Vec<(String, &'static str)> {
    settings
        .iter()
        .filter_map(|s| s.split_once(':'))
        .map(|(key, value)| (format!("net/ipv4/{key}"), value))
        .collect()
}

fn file_names(dir: &Path) -> Result<Vec<String>, Error> {
    let names = || -> std::io::Result<Vec<String>> {
        let entries = std::fs::read_dir(dir).if_there()?.into_iter().flatten();
        entries
            .map(|e| Ok(e?.file_name().to_string_lossy().into_owned()))
            .collect()
    };
    names().map_err(|e| failed(format!("read {}", dir.display()), e))
}

fn records(dir: &Path) -> Result<BTreeMap<String, Record>, Error> {
    let mut found = BTreeMap::new();
    for file in file_names(&dir.join("pods"))? {
        let path = dir.join("pods").join(&file);
        let Some(uid) = file.strip_suffix(".json") else {
            continue;
        };
        let bytes =
            std::fs::read(&path).map_err(|e| failed(format!("read {}", path.display()), e))?;
        let record = serde_json::from_slice(&bytes)
            .map_err(|e| failed(format!("read {}", path.display()), e))?;
        found.insert(uid.to_owned(), record);
    }
    Ok(found)
}

/// The addresses of one podCIDR and who has them. Files are the truth; the map mirrors them.
struct Pool {
    dir: PathBuf,
    cidr: Ipv4Net,
    records: BTreeMap<String, Record>,
    /// The address given out last; the search for a free one goes on after it.
    last: Option<Ipv4Addr>,
}

impl Pool {
    fn load(dir: &Path, cidr: Ipv4Net) -> Result<Self, Error> {
        if cidr.prefix_len() > 30 {
            return Err(Error::Exhausted(cidr.to_string()));
        }
        let mut pool = Pool {
            dir: dir.to_owned(),
            cidr,
            records: records(dir)?,
            last: None,
        };
        pool.last = std::fs::read_to_string(dir.join("last"))
            .ok()
            .and_then(|s| s.trim().parse().ok());
        Ok(pool)
    }

    fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.cidr.network()) + 1)
    }

    fn record_path(&self, uid: &str) -> PathBuf {
        self.dir.join("pods").join(format!("{uid}.json"))
    }

    /// The pod's address: the one it has, or the next free one.
    fn take(&mut self, uid: &str) -> Result<Ipv4Addr, Error> {
        if let Some(record) = self.records.get(uid) {
            return Ok(record.ip);
        }
        let taken = self.records.values().map(|r| r.ip).collect();
        let ip = next_free(self.cidr, self.last, &taken)
            .ok_or_else(|| Error::Exhausted(self.cidr.to_string()))?;
        let record = Record {
            ip,
            host_ports: Vec::new(),
        };
        self.write(uid, &record)?;
        write_whole(&self.dir.join("last"), ip.to_string().as_bytes())?;
        self.last = Some(ip);
        self.records.insert(uid.to_owned(), record);
        Ok(ip)
    }

    fn write(&self, uid: &str, record: &Record) -> Result<(), Error> {
        let json = serde_json::to_vec(record).map_err(|e| failed("write an address record", e))?;
        write_whole(&self.record_path(uid), &json)
    }

    fn set_host_ports(&mut self, uid: &str, ports: &[HostPort]) -> Result<(), Error> {
        let record = self.records.get(uid).ok_or_else(|| {
            failed(
                format!("set the host ports of pod {uid}"),
                "it has no network",
            )
        })?;
        let record = Record {
            host_ports: ports.to_vec(),
            ..record.clone()
        };
        self.write(uid, &record)?;
        self.records.insert(uid.to_owned(), record);
        Ok(())
    }

    fn host_ports(&self) -> BTreeMap<Ipv4Addr, Vec<HostPort>> {
        self.records
            .values()
            .map(|r| (r.ip, r.host_ports.clone()))
            .collect()
    }

    fn give_back(&mut self, uid: &str) -> Result<(), Error> {
        let path = self.record_path(uid);
        let removed = std::fs::remove_file(&path).if_there();
        removed.map_err(|e| failed(format!("remove {}", path.display()), e))?;
        self.records.remove(uid);
        Ok(())
    }
}

pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    disk::write_whole(path, bytes).map_err(|e| failed(format!("write {}", path.display()), e))
}

/// The first free address after `last`, going round; never the network's own, the gateway's (the first) or the broadcast address.
fn next_free(
    cidr: Ipv4Net,
    last: Option<Ipv4Addr>,
    taken: &std::collections::BTreeSet<Ipv4Addr>,
) -> Option<Ipv4Addr> {
    let (first, end) = (u32::from(cidr.network()) + 2, u32::from(cidr.broadcast()));
    let from = last
        .map(u32::from)
        .filter(|l| (first..end).contains(l))
        .map_or(first, |l| l + 1);
    (from..end)
        .chain(first..from)
        .map(Ipv4Addr::from)
        .find(|ip| !taken.contains(ip))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_round() {
        let cidr: Ipv4Net = "10.0.0.0/29".parse().unwrap();
        let ip = |n: u8| Ipv4Addr::new(10, 0, 0, n);
        let cases: &[(Option<u8>, &[u8], Option<u8>)] = &[
            (None, &[], Some(2)),
            (Some(2), &[2], Some(3)),
            (Some(3), &[2], Some(4)),
            (Some(6), &[6], Some(2)),
            (Some(6), &[2, 3, 6], Some(4)),
            (Some(4), &[2, 3, 4, 5, 6], None),
            (Some(99), &[], Some(2)),
        ];
        for (last, taken, want) in cases {
            let taken = taken.iter().map(|n| ip(*n)).collect();
            assert_eq!(
                next_free(cidr, last.map(ip), &taken),
                want.map(ip),
                "after {last:?} with {taken:?}"
            );
        }
    }

    #[test]
    fn a_pool_remembers() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("pods")).unwrap();
        let cidr = "10.1.0.0/29".parse().unwrap();
        let mut pool = Pool::load(dir.path(), cidr).unwrap();
        let a = pool.take("a").unwrap();
        let b = pool.take("b").unwrap();
        assert_ne!(a, b);
        pool.give_back("a").unwrap();
        let mut pool = Pool::load(dir.path(), cidr).unwrap();
        assert_eq!(pool.take("b").unwrap(), b);
        assert_eq!(
            pool.take("c").unwrap(),
            Ipv4Addr::new(10, 1, 0, 4),
            "what a had must not be given out at once"
        );
        for uid in ["d", "e", "f"] {
            pool.take(uid).unwrap();
        }
        assert!(matches!(pool.take("g"), Err(Error::Exhausted(_))));
    }

    #[test]
    fn names_of_links() {
        assert_eq!(host_link("a").len(), 15);
        assert_ne!(host_link("a"), host_link("b"));
        assert!(
            check_uid("../x").is_err() && check_uid("").is_err() && check_uid("0f-1.a").is_ok()
        );
    }
}
