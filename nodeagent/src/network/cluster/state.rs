//! Which addresses a cluster has on this host, who has them, and the routes that follow from it.
//!
//! Invariant: what is written down is enough to find the same addresses again. Nothing here touches the machine but its own file.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    path::Path,
};

use ipnet::{IpNet, Ipv4Net};
use serde::{Deserialize, Serialize};

use super::super::{Error, failed, link::OwnRoute, pods::write_whole};
use crate::outcome::IfThere;

const FILE: &str = "network.json";

/// `network.json` in the run folder: what a later run needs to find the same addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct State {
    pub bridge: String,
    pub cidr: Ipv4Net,
    pub nodes: BTreeMap<String, NodeState>,
    /// The node that leads to an address of a service that is reached from outside.
    #[serde(default)]
    pub balanced: BTreeMap<Ipv4Addr, String>,
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

    /// The index of the broadcast address.
    pub fn end(&self) -> u32 {
        u32::from(self.cidr.broadcast()) - u32::from(self.cidr.network())
    }

    pub fn has_node(&self, index: u32) -> bool {
        self.nodes.values().any(|node| node.index == index)
    }

    /// The lowest index that is nobody's.
    pub fn free_index(&self) -> Option<u32> {
        let is_free = |i: &u32| !self.has_node(*i) && !self.balanced.contains_key(&self.ip(*i));
        (2..self.end()).find(is_free)
    }

    /// Addresses for services: the upper half of the network, but for nodes that got there.
    pub fn for_services(&self) -> impl Iterator<Item = Ipv4Addr> {
        let upper = self.end().div_ceil(2)..self.end();
        upper.filter(|i| !self.has_node(*i)).map(|i| self.ip(i))
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
pub fn wanted_routes(state: &State, service_cidr: Option<IpNet>, bridge: u32) -> Vec<OwnRoute> {
    let route = |to: IpNet, node: &NodeState| OwnRoute {
        to: to.trunc(),
        via: Some(IpAddr::V4(state.ip(node.index))),
        link: bridge,
    };
    let first = state.nodes.values().min_by_key(|n| n.index);
    let services = service_cidr
        .zip(first)
        .map(|(cidr, node)| route(cidr, node));
    let balanced = state
        .balanced
        .iter()
        .filter_map(|(ip, node)| Some(route(IpAddr::V4(*ip).into(), state.nodes.get(node)?)));
    state
        .nodes
        .values()
        .flat_map(|n| n.pod_cidrs.iter().map(move |c| route(*c, n)))
        .chain(services)
        .chain(balanced)
        .collect()
}

/// The first of 10.89.0.0/24, 10.89.1.0/24, … that overlaps with nothing.
pub fn free_range(taken: &[IpNet], cluster: &[IpNet]) -> Result<Ipv4Net, Error> {
    let overlaps = |a: &IpNet, b: &IpNet| a.contains(b) || b.contains(a);
    (0..=255u8)
        .filter_map(|third| Ipv4Net::new(Ipv4Addr::new(10, 89, third, 0), 24).ok())
        .find(|net| {
            !taken
                .iter()
                .chain(cluster)
                .any(|other| overlaps(&IpNet::V4(*net), other))
        })
        .ok_or_else(|| Error::Exhausted("10.89.0.0/16".into()))
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
            (Ipv4Addr::new(10, 89, 0, 4), "a".to_owned()),
            (Ipv4Addr::new(10, 89, 0, 5), "nosuch".to_owned()),
        ]);
        let state = State {
            bridge: "b".into(),
            cidr,
            nodes,
            balanced,
        };
        let routes = wanted_routes(&state, Some("10.96.0.0/16".parse().unwrap()), 7);
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
        assert_eq!(state.free_index(), Some(6));
        let pool: Vec<_> = state.for_services().collect();
        let ends = [pool.first(), pool.last()].map(|ip| ip.unwrap().octets()[3]);
        assert_eq!(ends, [128, 254]);
    }
}
