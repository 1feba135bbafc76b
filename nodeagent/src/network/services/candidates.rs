//! The endpoints of a service's port, as its slices have them, before traffic policies choose among them.
//!
//! Invariant: pure; each address and port is there once. Follows `pkg/proxy/{endpointslicecache,topology}.go` upstream.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use super::{
    super::{
        family::IpFamily,
        slice::{Endpoint as SliceEndpoint, Port, Slice},
        view::Slices,
    },
    node::{Endpoint, NodeFacts},
};
use crate::network::protocol::Protocol;

/// An endpoint before the policies have chosen.
pub struct Candidate {
    pub endpoint: Endpoint,
    pub ready: bool,
    pub serving_terminating: bool,
    /// Whether it is meant for this node's zone; `None`: nothing is said of zones.
    pub for_zone: Option<bool>,
    /// The same of the node itself.
    pub for_node: Option<bool>,
}

/// By address and port.
pub type Candidates = BTreeMap<(IpAddr, u16), Candidate>;

/// An address that is in two slices, or is two pods', is the one that does not terminate.
pub fn candidates(
    slices: &Slices,
    port_name: &str,
    protocol: Protocol,
    node: &NodeFacts,
) -> Candidates {
    let mut found = BTreeMap::new();
    let of_family = slices.values().filter(|s| s.family == Some(node.family));
    for slice in of_family {
        for port in ports(slice, port_name, protocol) {
            for endpoint in &slice.endpoints {
                let Some(ip) = endpoint.ip.filter(|ip| node.family.has(ip)) else {
                    continue;
                };
                if !endpoint.terminating || !found.contains_key(&(ip, port)) {
                    found.insert((ip, port), candidate(endpoint, ip, port, node));
                }
            }
        }
    }
    found
}

/// The endpoints of a TCP port, by the name that the service has for it, to which a new connection may be made from anywhere: ready, and not about to end.
/// Of a service with endpoints of both families those of the first: they are the same pods.
pub fn ready_endpoints(slices: &Slices, port_name: &str, families: &[IpFamily]) -> Vec<SocketAddr> {
    let of = |family: &IpFamily| -> Vec<SocketAddr> {
        let node = NodeFacts {
            family: *family,
            ..NodeFacts::default()
        };
        let all = candidates(slices, port_name, Protocol::Tcp, &node);
        let ready = all.values().filter(|c| c.ready && !c.serving_terminating);
        ready
            .map(|c| SocketAddr::from((c.endpoint.ip, c.endpoint.port)))
            .collect()
    };
    let mut found = families.iter().map(of);
    found.find(|all| !all.is_empty()).unwrap_or_default()
}

fn ports<'a>(
    slice: &'a Slice,
    name: &'a str,
    protocol: Protocol,
) -> impl Iterator<Item = u16> + 'a {
    let same = move |p: &&Port| &*p.name == name && p.protocol == protocol;
    slice.ports.iter().filter(same).map(|p| p.port)
}

fn candidate(endpoint: &SliceEndpoint, ip: IpAddr, port: u16, node: &NodeFacts) -> Candidate {
    let local = endpoint.node.as_deref() == Some(&*node.name);
    let hints = endpoint.hints.as_deref();
    let meant = |names: &Vec<String>, name: Option<&String>| {
        (!names.is_empty()).then(|| name.is_some_and(|name| names.contains(name)))
    };
    Candidate {
        endpoint: Endpoint { ip, port, local },
        ready: endpoint.ready,
        serving_terminating: endpoint.serving && endpoint.terminating,
        for_zone: hints.and_then(|h| meant(&h.zones, node.zone.as_ref())),
        for_node: hints.and_then(|h| meant(&h.nodes, Some(&node.name))),
    }
}

/// How far traffic may go, by the hints on the endpoints.
pub enum Nearness {
    Anywhere,
    SameZone,
    SameNode,
}

impl Nearness {
    pub fn allows(&self, candidate: &Candidate) -> bool {
        match self {
            Nearness::Anywhere => true,
            Nearness::SameZone => candidate.for_zone == Some(true),
            Nearness::SameNode => candidate.for_node == Some(true),
        }
    }
}

/// Hints count only if every ready endpoint has them and at least one is meant for this node or zone.
pub fn nearness(candidates: &Candidates) -> Nearness {
    let ready = || candidates.values().filter(|c| c.ready);
    let (mut of_nodes, mut of_zones) = (ready().map(|c| c.for_node), ready().map(|c| c.for_zone));
    let all = |hints: &mut dyn Iterator<Item = Option<bool>>| {
        let known: Option<Vec<bool>> = hints.collect();
        known.is_some_and(|meant| meant.contains(&true))
    };
    if all(&mut of_nodes) {
        Nearness::SameNode
    } else if all(&mut of_zones) {
        Nearness::SameZone
    } else {
        Nearness::Anywhere
    }
}
