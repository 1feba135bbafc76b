//! The nftables form of walls: the tables without pods, and what is in a chain.
//!
//! Invariant: pure. Only what comes from a pod of this node or goes to one is looked at; what the node itself sends to its pods, and they to it, is not.
//! Each packet is judged, in both directions, by the two chains that its connection's first packet met: so no connection outlives what allowed it.
//! Of a bridge's frames, a pod's cable carries only those of its own address, and none from pod to pod past the node's IP layer.

use std::{
    collections::{BTreeSet, HashMap},
    net::Ipv4Addr,
};

use sha2::{Digest, Sha256};

use super::{
    super::{nft::line, pods::BRIDGE, services::Protocol},
    read::{Namespaces, Peer, PodPeer},
    view::{Labels, Pod},
};

/// The name of both tables, of family `ip` and `bridge`.
pub const TABLE: &str = "skiff-policy";
/// What the node's end of a pod's cable begins with.
pub const LINKS: &str = "skiffp*";
/// Of packets that were judged on a bridge whose frames the kernel passes through the rules for IP.
const JUDGED: &str = "0x2000";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    Ingress,
    Egress,
}

/// What is in a set.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SetKey {
    /// Addresses of pods.
    Pods(PodPeer),
    /// Addresses with the container ports of this name.
    Ports {
        peer: Peer,
        protocol: Protocol,
        name: String,
    },
}

/// The other end, as a rule names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Other {
    Everyone,
    Addresses(Vec<(Ipv4Addr, Ipv4Addr)>),
    Set(SetKey),
}

/// What a chain lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    pub other: Other,
    /// `None`: whatever it is. Otherwise these ports of the destination, by first and last.
    pub ports: Option<(Protocol, Vec<(u16, u16)>)>,
}

/// A chain's two forms, and the sets that they refer to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub name: String,
    /// For packets that go as the connection's first.
    pub rules: Vec<String>,
    /// For those that come back.
    pub replies: Vec<String>,
    pub sets: Vec<SetKey>,
}

impl PodPeer {
    /// A pod whose namespace is not known is nobody's peer by its namespace's labels.
    pub fn matches(&self, pod: &Pod, namespaces: &HashMap<String, Labels>) -> bool {
        let namespace = match &self.namespaces {
            Namespaces::Named(name) => pod.namespace == *name,
            Namespaces::Selected(selector) => namespaces
                .get(&pod.namespace)
                .is_some_and(|labels| selector.matches(labels)),
        };
        namespace && self.pods.matches(&pod.labels)
    }

    fn text(&self) -> String {
        match &self.namespaces {
            Namespaces::Named(name) => format!("in {name}: {}", self.pods),
            Namespaces::Selected(selector) => format!("in [{selector}]: {}", self.pods),
        }
    }
}

impl Other {
    pub fn of(peer: &Peer) -> Self {
        match peer {
            Peer::Everyone => Other::Everyone,
            Peer::Addresses(ranges) => Other::Addresses(ranges.clone()),
            Peer::Pods(peer) => Other::Set(SetKey::Pods(peer.clone())),
        }
    }
}

impl SetKey {
    /// It follows from what is in the set.
    pub fn name(&self) -> String {
        match self {
            SetKey::Pods(peer) => format!("peer-{}", short_hash(&peer.text())),
            SetKey::Ports {
                peer,
                protocol,
                name,
            } => {
                let peer = match peer {
                    Peer::Everyone => "everyone".to_owned(),
                    Peer::Pods(peer) => peer.text(),
                    Peer::Addresses(ranges) => elements(ranges),
                };
                let text = format!("{} {name} of {peer}", protocol.name());
                format!("port-{}", short_hash(&text))
            }
        }
    }

    /// The type, as nftables has it.
    pub fn kind(&self) -> &'static str {
        match self {
            SetKey::Pods(_) => "ipv4_addr",
            SetKey::Ports { .. } => "ipv4_addr . inet_service",
        }
    }
}

fn short_hash(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..8])
}

/// What a set in braces has, by first and last.
fn elements<T: std::fmt::Display + PartialEq>(ranges: &[(T, T)]) -> String {
    let text = |(first, last): &(T, T)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    ranges.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// The chain that lets this through and drops the rest.
pub fn chain(direction: Direction, allowed: &[Allow]) -> Chain {
    let prefix = match direction {
        Direction::Ingress => "in",
        Direction::Egress => "out",
    };
    // The pod is one end; the other is where packets come from, or go to. Connections are made to the destination's port.
    let (there, back) = match direction {
        Direction::Ingress => (("saddr", "dport"), ("daddr", "sport")),
        Direction::Egress => (("daddr", "dport"), ("saddr", "sport")),
    };
    let all = |fields| {
        let lines: BTreeSet<_> = allowed.iter().map(|allow| rule(allow, fields)).collect();
        lines.into_iter().chain(["drop".into()]).collect::<Vec<_>>()
    };
    let (rules, replies) = (all(there), all(back));
    let mut sets: Vec<_> = allowed
        .iter()
        .filter_map(|allow| match &allow.other {
            Other::Set(key) => Some(key.clone()),
            _ => None,
        })
        .collect();
    sets.sort_by_cached_key(SetKey::name);
    sets.dedup();
    Chain {
        name: format!("{prefix}-{}", short_hash(&rules.concat())),
        rules,
        replies,
        sets,
    }
}

fn rule(allow: &Allow, (address, port): (&str, &str)) -> String {
    let other = match &allow.other {
        Other::Everyone => String::new(),
        Other::Addresses(ranges) => format!("ip {address} {{ {} }} ", elements(ranges)),
        Other::Set(key @ SetKey::Pods(_)) => format!("ip {address} @{} ", key.name()),
        Other::Set(key @ SetKey::Ports { protocol, .. }) => {
            let protocol = protocol.name();
            format!("ip {address} . {protocol} {port} @{} ", key.name())
        }
    };
    let ports = match &allow.ports {
        None => String::new(),
        Some((protocol, ranges)) if ranges.contains(&(0, u16::MAX)) => {
            format!("meta l4proto {} ", protocol.name())
        }
        Some((protocol, ranges)) => {
            format!("{} {port} {{ {} }} ", protocol.name(), elements(ranges))
        }
    };
    format!("{other}{ports}return")
}

/// The table of family `ip` without pods: all are closed, but for what the node itself sends them. `answered` is where the node itself answers pods for
/// the cluster.
pub fn base(answered: &[Ipv4Addr]) -> String {
    let (from, to) = (
        format!("iifname \"{BRIDGE}\""),
        format!("oifname \"{BRIDGE}\""),
    );
    let verdicts = "type ipv4_addr : verdict;";
    let own: Vec<_> = answered.iter().map(Ipv4Addr::to_string).collect();
    let input = if own.is_empty() {
        String::new()
    } else {
        format!("{from} ip daddr {{ {} }} goto answered", own.join(", "))
    };
    format!(
        "table ip {TABLE} {{
comment \"network policies\"
set pods {{ type ipv4_addr; }}
set self {{ type ipv4_addr . ipv4_addr; }}
map ingress {{ {verdicts} }}
map egress {{ {verdicts} }}
map ingress-replies {{ {verdicts} }}
map egress-replies {{ {verdicts} }}
chain replies {{
{to} ip daddr vmap @egress-replies
{from} ip saddr vmap @ingress-replies
}}
chain answered {{
ip saddr != @pods drop
ip saddr vmap @egress
ip daddr vmap @ingress
}}
chain forward {{ type filter hook forward priority 5; policy accept;
iifname != \"{BRIDGE}\" oifname != \"{BRIDGE}\" accept
{from} ip saddr != @pods drop
{to} ip daddr != @pods reject with icmp type host-unreachable
{from} {to} meta mark set meta mark or {JUDGED}
ip saddr . ip daddr @self accept
ip protocol icmp ct state related accept
ct direction reply goto replies
{from} ip saddr vmap @egress
{to} ip daddr vmap @ingress
}}
chain input {{ type filter hook input priority 5; policy accept;
{input}
}}
}}
"
    )
}

/// The table of family `bridge` without pods: their cables carry nothing.
pub fn bridge_base() -> String {
    format!(
        "table bridge {TABLE} {{
comment \"network policies\"
set cables {{ type ifname . ipv4_addr; }}
chain prerouting {{ type filter hook prerouting priority -310; policy accept;
iifname != \"{LINKS}\" accept
ether type ip iifname . ip saddr @cables accept
ether type arp iifname . arp saddr ip @cables accept
drop
}}
chain forward {{ type filter hook forward priority 10; policy accept;
iifname \"{LINKS}\" oifname \"{LINKS}\" meta mark and {JUDGED} == 0 drop
}}
}}
"
    )
}

/// The script that takes both tables away.
pub fn cleared() -> String {
    let mut script = String::new();
    for family in ["ip", "bridge"] {
        line!(
            script,
            "add table {family} {TABLE}\ndelete table {family} {TABLE}"
        );
    }
    script
}
