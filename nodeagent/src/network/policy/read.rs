//! A NetworkPolicy as it was written, read into whom it selects and whom it lets in and out.
//!
//! Invariant: what cannot be understood never opens anything. A policy that as a whole cannot be read selects all pods of its namespace and allows nothing;
//! a peer or port that cannot be read matches nothing. Follows `pkg/apis/networking/types.go` and `validation/validation.go` upstream.

use std::net::IpAddr;

use ipnet::IpNet;
use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use skiff_api::machinery::selector::Selector;

use super::super::family::{self, IpFamily};
use crate::network::protocol::Protocol;

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    pub pods: Selector,
    /// `None`: it says nothing of what comes in. Otherwise only what one of these (or another policy) allows.
    pub ingress: Option<Vec<Rule>>,
    /// The same of what goes out.
    pub egress: Option<Vec<Rule>>,
}

/// What is allowed: any of the peers, at any of the ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub peers: Vec<Peer>,
    pub ports: Ports,
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    Everyone,
    Pods(PodPeer),
    /// Addresses of both families, sorted and without overlaps, by first and last.
    Addresses(Vec<(IpAddr, IpAddr)>),
}

/// Pods by labels, those of their namespaces and their own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodPeer {
    pub namespaces: Namespaces,
    pub pods: Selector,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Namespaces {
    /// The policy's own.
    Named(String),
    Selected(Selector),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// All, of all protocols.
    All,
    These(Vec<Port>),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub protocol: Protocol,
    pub which: Which,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    Any,
    /// First and last.
    Range(u16, u16),
    /// The container ports of that name of whichever pod is connected to.
    Named(String),
}

impl Policy {
    /// What stands for a policy that cannot be read.
    pub fn closed() -> Self {
        Policy {
            pods: Selector::everything(),
            ingress: Some(Vec::new()),
            egress: Some(Vec::new()),
        }
    }

    pub fn of(policy: &NetworkPolicy) -> Self {
        let namespace = policy.metadata.namespace.as_deref().unwrap_or_default();
        let Some(spec) = &policy.spec else {
            return Self::closed();
        };
        let types = spec.policy_types.as_deref().unwrap_or_default();
        let unknown = types.iter().any(|t| t != "Ingress" && t != "Egress");
        let pods = match &spec.pod_selector {
            // Unlike elsewhere, an absent selector is an empty one: the field is no pointer.
            None => Some(Selector::everything()),
            some => selector(some.as_ref()),
        };
        let (false, Some(pods)) = (unknown, pods) else {
            return Self::closed();
        };
        let says = |name: &str| types.iter().any(|t| t == name);
        // As the API server fills them in.
        let has_egress = spec.egress.as_ref().is_some_and(|rules| !rules.is_empty());
        let (ingress, egress) = if types.is_empty() {
            (true, has_egress)
        } else {
            (says("Ingress"), says("Egress"))
        };
        let rule = |peers: &Option<Vec<NetworkPolicyPeer>>,
                    ports: &Option<Vec<NetworkPolicyPort>>| Rule {
            peers: peers_of(peers.as_deref().unwrap_or_default(), namespace),
            ports: ports_of(ports.as_deref().unwrap_or_default()),
        };
        let incoming = spec.ingress.iter().flatten();
        let outgoing = spec.egress.iter().flatten();
        Policy {
            pods,
            ingress: ingress.then(|| incoming.map(|r| rule(&r.from, &r.ports)).collect()),
            egress: egress.then(|| outgoing.map(|r| rule(&r.to, &r.ports)).collect()),
        }
    }
}

/// `None`: it cannot be read.
fn selector(selector: Option<&LabelSelector>) -> Option<Selector> {
    skiff_podspec::selector::of(selector).ok()
}

fn peers_of(peers: &[NetworkPolicyPeer], namespace: &str) -> Vec<Peer> {
    if peers.is_empty() {
        return vec![Peer::Everyone];
    }
    // All blocks of a rule are one set of addresses.
    let blocks = peers.iter().filter_map(|peer| peer.ip_block.as_ref());
    let addresses = merged(blocks.flat_map(block).collect());
    let pods = peers.iter().filter_map(|peer| pod_peer(peer, namespace));
    let mut found: Vec<_> = pods.map(Peer::Pods).collect();
    if !addresses.is_empty() {
        found.push(Peer::Addresses(addresses));
    }
    found
}

fn pod_peer(peer: &NetworkPolicyPeer, namespace: &str) -> Option<PodPeer> {
    let (pods, namespaces) = (&peer.pod_selector, &peer.namespace_selector);
    if peer.ip_block.is_some() || (pods.is_none() && namespaces.is_none()) {
        return None;
    }
    Some(PodPeer {
        namespaces: match namespaces {
            None => Namespaces::Named(namespace.to_owned()),
            some => Namespaces::Selected(selector(some.as_ref())?),
        },
        pods: match pods {
            None => Selector::everything(),
            some => selector(some.as_ref())?,
        },
    })
}

/// First and last address of a family, by their numbers.
type Range = (u128, u128);

/// The addresses of a block: those of its CIDR without its exceptions. None of a block that cannot be read.
fn block(block: &IPBlock) -> Vec<(IpFamily, Range)> {
    let range = |text: &str| {
        let net: IpNet = text.parse().ok()?;
        let ends = (
            family::number(net.network()),
            family::number(net.broadcast()),
        );
        Some((IpFamily::of_network(net), ends))
    };
    let Some((family, whole)) = range(&block.cidr) else {
        return Vec::new();
    };
    let mut left = vec![whole];
    for except in block.except.iter().flatten() {
        let Some((_, hole)) = range(except).filter(|(of, _)| *of == family) else {
            // What was to be left out is not known.
            return Vec::new();
        };
        left = left
            .into_iter()
            .flat_map(|piece| without(piece, hole))
            .collect();
    }
    left.into_iter().map(|range| (family, range)).collect()
}

fn without((first, last): Range, (from, to): Range) -> impl Iterator<Item = Range> {
    let before = (first < from).then(|| (first, last.min(from.saturating_sub(1))));
    let after = (last > to).then(|| (first.max(to.saturating_add(1)), last));
    before.into_iter().chain(after)
}

fn merged(ranges: Vec<(IpFamily, Range)>) -> Vec<(IpAddr, IpAddr)> {
    let of = |family: IpFamily| {
        let ours = ranges.iter().filter(|(of, _)| *of == family);
        let mut ours: Vec<_> = ours.map(|(_, range)| *range).collect();
        join(&mut ours, |last| last.saturating_add(1));
        let address = move |number| family.address(number);
        ours.into_iter()
            .map(move |(first, last)| (address(first), address(last)))
    };
    IpFamily::ALL.into_iter().flat_map(of).collect()
}

/// Sorts ranges and makes one of those that overlap or touch. `after` is the number after another.
pub fn join<T: Ord + Copy>(ranges: &mut Vec<(T, T)>, after: impl Fn(T) -> T) {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let joins = next.0 <= after(before.1);
        if joins {
            before.1 = before.1.max(next.1);
        }
        joins
    });
}

fn ports_of(ports: &[NetworkPolicyPort]) -> Ports {
    if ports.is_empty() {
        return Ports::All;
    }
    Ports::These(ports.iter().filter_map(port).collect())
}

fn port(port: &NetworkPolicyPort) -> Option<Port> {
    let number = |number: i32| u16::try_from(number).ok().filter(|n| *n > 0);
    let which = match (&port.port, port.end_port) {
        (None, None) => Which::Any,
        (Some(IntOrString::Int(first)), None) => Which::Range(number(*first)?, number(*first)?),
        (Some(IntOrString::Int(first)), Some(last)) => Which::Range(
            number(*first)?,
            number(last).filter(|last| *last >= *first as u16)?,
        ),
        (Some(IntOrString::String(name)), None) => Which::Named(name.clone()),
        _ => return None,
    };
    Some(Port {
        protocol: Protocol::parse(port.protocol.as_deref())?,
        which,
    })
}
