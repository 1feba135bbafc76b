//! Which addresses a cluster has on this host, who has them, and the routes that follow from it.
//!
//! Invariant: what is written down is enough to find the same addresses again. Nothing here touches the machine but its own file.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::Path,
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use super::super::{
    Error, failed,
    family::{IpFamily, alone},
    link::OwnRoute,
    pool::write_whole,
};
use crate::outcome::IfThere;

const FILE: &str = "network.json";

/// `network.json` in the run folder: what a later run needs to find the same addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    pub bridge: String,
    pub cidr: Ipv4Net,
    /// Of a cluster with pods of IPv6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cidr6: Option<Ipv6Net>,
    pub nodes: BTreeMap<String, NodeState>,
    /// The node that leads to an address of a service that is reached from outside.
    #[serde(default)]
    pub balanced: BTreeMap<IpAddr, String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NodeState {
    /// Host part of the node's address, from 2 on.
    pub index: u32,
    pub pod_cidrs: Vec<IpNet>,
}

impl State {
    pub fn gateway(&self) -> Ipv4Addr {
        self.ip(1)
    }

    pub fn ip(&self, index: u32) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.cidr.network()) + index)
    }

    /// The same of IPv6.
    pub fn ip6(&self, index: u32) -> Option<Ipv6Addr> {
        let first = u128::from(self.cidr6?.network());
        Some(Ipv6Addr::from(first + u128::from(index)))
    }

    /// The addresses of an index, with the lengths of their networks.
    pub fn places(&self, index: u32) -> Vec<IpNet> {
        let v4 = IpNet::new(self.ip(index).into(), self.cidr.prefix_len());
        let v6 = self.cidr6.zip(self.ip6(index));
        let v6 = v6.map(|(net, ip)| IpNet::new(ip.into(), net.prefix_len()));
        [v4].into_iter().chain(v6).flatten().collect()
    }

    /// The index of the broadcast address.
    pub fn end(&self) -> u32 {
        u32::from(self.cidr.broadcast()) - u32::from(self.cidr.network())
    }

    pub fn has_node(&self, index: u32) -> bool {
        self.nodes.values().any(|node| node.index == index)
    }

    /// The lowest index that is nobody's.
    pub fn free_index(&self) -> Option<u32> {
        let is_balanced = |place: IpNet| self.balanced.contains_key(&place.addr());
        let is_free = |i: &u32| !self.has_node(*i) && !self.places(*i).into_iter().any(is_balanced);
        (2..self.end()).find(is_free)
    }

    /// Addresses for services, of each family: those of the upper half of the indices, but for nodes that got there.
    pub fn for_services(&self) -> impl Iterator<Item = IpAddr> {
        let upper = self.end().div_ceil(2)..self.end();
        let free = upper.filter(|i| !self.has_node(*i));
        free.flat_map(|i| self.places(i)).map(|place| place.addr())
    }

    /// Whether an earlier run wrote one.
    pub fn is_kept(run_dir: &Path) -> bool {
        run_dir.join(FILE).exists()
    }

    /// What an earlier run wrote.
    pub fn load(run_dir: &Path) -> Result<Option<State>, Error> {
        let path = run_dir.join(FILE);
        let read = || -> std::io::Result<Option<State>> {
            let bytes = std::fs::read(&path).if_there()?;
            Ok(bytes
                .map(|bytes| serde_json::from_slice(&bytes))
                .transpose()?)
        };
        read().map_err(|e| failed(format!("read {}", path.display()), e))
    }

    /// Writes it down for a later run.
    pub fn save(&self, run_dir: &Path) -> Result<(), Error> {
        let json = serde_json::to_vec_pretty(self)
            .map_err(|e| failed("write the cluster's network", e))?;
        std::fs::create_dir_all(run_dir)
            .map_err(|e| failed(format!("make {}", run_dir.display()), e))?;
        write_whole(&run_dir.join(FILE), &json)
    }

    /// Forgets what was written down.
    pub fn forget(run_dir: &Path) -> Result<(), Error> {
        let removed = std::fs::remove_file(run_dir.join(FILE)).if_there();
        removed
            .map(drop)
            .map_err(|e| failed(format!("remove {FILE}"), e))
    }
}

/// The host's routes: the pods through their nodes, the services through the first, those that are reached from outside each through its own.
pub fn wanted_routes(state: &State, service_cidrs: &[IpNet], bridge: u32) -> Vec<OwnRoute> {
    // Where nodes have no address of IPv6 there is no way to what has.
    let route = |to: IpNet, node: &NodeState| {
        let via = match IpFamily::of_network(to) {
            IpFamily::V4 => Some(IpAddr::V4(state.ip(node.index))),
            IpFamily::V6 => state.ip6(node.index).map(IpAddr::V6),
        };
        Some(OwnRoute {
            to: to.trunc(),
            via: Some(via?),
            link: bridge,
        })
    };
    let first = state.nodes.values().min_by_key(|n| n.index);
    let services = service_cidrs.iter().filter_map(|cidr| route(*cidr, first?));
    let balanced = state
        .balanced
        .iter()
        .filter_map(|(ip, node)| route(alone(*ip), state.nodes.get(node)?));
    state
        .nodes
        .values()
        .flat_map(|n| n.pod_cidrs.iter().filter_map(move |c| route(*c, n)))
        .chain(services)
        .chain(balanced)
        .collect()
}

pub fn overlap(a: &IpNet, b: &IpNet) -> bool {
    a.contains(b) || b.contains(a)
}

/// The first of 10.89.0.0/24, 10.89.1.0/24, … that overlaps with nothing.
pub fn free_range(taken: &[IpNet], cluster: &[IpNet]) -> Result<Ipv4Net, Error> {
    (0..=255u8)
        .filter_map(|third| Ipv4Net::new(Ipv4Addr::new(10, 89, third, 0), 24).ok())
        .find(|net| {
            !taken
                .iter()
                .chain(cluster)
                .any(|other| overlap(&IpNet::V4(*net), other))
        })
        .ok_or_else(|| Error::Exhausted("10.89.0.0/16".into()))
}

/// A network of IPv6 for the nodes of an instance, of those that are for such use: whoever has another instance's name has another, and if something leads
/// to it already it is the next.
pub fn free_range6(name: u32, taken: &[IpNet]) -> Result<Ipv6Net, Error> {
    let of = |further: u16| {
        let [_, a, b, c] = name.to_be_bytes();
        let first = Ipv6Addr::from([
            0xfd,
            0x89,
            a,
            b,
            c,
            0,
            further.to_be_bytes()[0],
            further.to_be_bytes()[1],
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
        ]);
        Ipv6Net::new(first, 64).ok()
    };
    (0..=255)
        .filter_map(of)
        .find(|net| !taken.iter().any(|other| overlap(&IpNet::V6(*net), other)))
        .ok_or_else(|| Error::Exhausted("fd89::/16".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_avoid_what_is_there() {
        let nets = |s: &[&str]| s.iter().map(|n| n.parse().unwrap()).collect::<Vec<IpNet>>();
        let cases: &[(&[&str], &[&str], Option<&str>)] = &[
            (&[], &[], Some("10.89.0.0/24")),
            (
                &["10.89.0.0/24", "192.168.0.0/16"],
                &[],
                Some("10.89.1.0/24"),
            ),
            (&["10.89.0.128/25"], &["10.89.1.0/24"], Some("10.89.2.0/24")),
            (&["10.0.0.0/8"], &[], None),
        ];
        for (taken, cluster, want) in cases {
            let got = free_range(&nets(taken), &nets(cluster)).ok();
            assert_eq!(
                got,
                want.map(|w| w.parse().unwrap()),
                "{taken:?} {cluster:?}"
            );
        }
    }

    #[test]
    fn ranges_of_ipv6_are_an_instances_own() {
        let first = free_range6(0x00ab_cdef, &[]).unwrap();
        assert_eq!(first.to_string(), "fd89:abcd:ef00::/64");
        let next = free_range6(0x00ab_cdef, &[first.into()]).unwrap();
        assert_eq!(next.to_string(), "fd89:abcd:ef00:1::/64");
        assert_ne!(free_range6(1, &[]).unwrap(), first);
    }

    #[test]
    fn routes_follow_the_nodes() {
        let cidr: Ipv4Net = "10.89.0.0/24".parse().unwrap();
        let node = |index, pods: &str| NodeState {
            index,
            pod_cidrs: vec![pods.parse().unwrap()],
        };
        let nodes = BTreeMap::from([
            ("a".to_owned(), node(3, "10.244.1.0/24")),
            ("b".to_owned(), node(2, "10.244.0.0/24")),
        ]);
        let balanced = BTreeMap::from([
            (IpAddr::from([10, 89, 0, 4]), "a".to_owned()),
            (IpAddr::from([10, 89, 0, 5]), "nosuch".to_owned()),
        ]);
        let state = State {
            bridge: "b".into(),
            cidr,
            cidr6: None,
            nodes,
            balanced,
        };
        let services = ["10.96.0.0/16", "fd00:96::/112"].map(|net| net.parse().unwrap());
        let routes = wanted_routes(&state, &services, 7);
        let text: Vec<_> = routes
            .iter()
            .map(|r| format!("{} via {}", r.to, r.via.unwrap()))
            .collect();
        assert_eq!(
            text,
            [
                "10.244.1.0/24 via 10.89.0.3",
                "10.244.0.0/24 via 10.89.0.2",
                "10.96.0.0/16 via 10.89.0.2",
                "10.89.0.4/32 via 10.89.0.3",
            ]
        );
        let mut both = state.clone();
        both.cidr6 = Some("fd89::/64".parse().unwrap());
        let node = both.nodes.get_mut("a").unwrap();
        node.pod_cidrs.push("fd00:244:1::/64".parse().unwrap());
        both.balanced
            .insert("fd89::7".parse().unwrap(), "a".to_owned());
        let routes = wanted_routes(&both, &services, 7);
        let v6: Vec<_> = routes
            .iter()
            .filter(|r| r.to.addr().is_ipv6())
            .map(|r| format!("{} via {}", r.to, r.via.unwrap()))
            .collect();
        assert_eq!(
            v6,
            [
                "fd00:244:1::/64 via fd89::3",
                "fd00:96::/112 via fd89::2",
                "fd89::7/128 via fd89::3"
            ]
        );
        both.balanced
            .insert("fd89::6".parse().unwrap(), "b".to_owned());
        assert_eq!(both.free_index(), Some(8));
        assert_eq!(state.free_index(), Some(6));
        let pool: Vec<_> = state.for_services().collect();
        let ends = |pool: &[IpAddr]| [pool.first(), pool.last()].map(|ip| ip.unwrap().to_string());
        assert_eq!(ends(&pool), ["10.89.0.128", "10.89.0.254"]);
        let pool: Vec<_> = both.for_services().collect();
        assert_eq!(ends(&pool), ["10.89.0.128", "fd89::fe"]);
    }
}
