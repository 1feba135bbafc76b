//! The nftables form of walls: the tables without pods, and what is in a chain.
//!
//! Invariant: pure. What is said here is said of both families alike, each in a table of its own. Only what comes from a pod of this node or goes to one is looked at; what the node itself sends to its pods, and they to it, is not.
//! Each packet is judged, in both directions, by the two chains that its connection's first packet met: so no connection outlives what allowed it.
//! Of a bridge's frames, a pod's cable carries only those of its own address, and none from pod to pod past the node's IP layer.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use sha2::{Digest, Sha256};

use super::{
    super::{
        BRIDGE,
        family::IpFamily,
        nft::{
            Base, Batch, Field, Hook, Kind, RELATED, Reject, Rule, Set, Side, Statement, Table,
            Test, Value, Verdict,
        },
    },
    read::{Namespaces, Peer, PodPeer},
    view::{Labels, Pod},
};
use crate::network::protocol::Protocol;

/// The name of all tables, of the families `ip`, `ip6` and `bridge`.
pub const TABLE: &str = "skiff-policy";
/// What the node's end of a pod's cable begins with.
pub const LINKS: &str = "skiffp";
/// Of packets that were judged on a bridge whose frames the kernel passes through the rules for IP.
const JUDGED: u32 = 0x2000;
/// Messages of ICMP between neighbours: who asks, and who tells.
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// The table of a family's packets.
pub fn table(family: IpFamily) -> Table {
    family.table(TABLE)
}

/// The table of family `bridge`.
pub fn bridge_table() -> Table {
    Table::bridge(TABLE)
}

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
    /// Of both families, by first and last.
    Addresses(Vec<(IpAddr, IpAddr)>),
    Set(SetKey),
}

/// What a chain lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    pub other: Other,
    /// `None`: whatever it is. Otherwise these ports of the destination, by first and last.
    pub ports: Option<(Protocol, Vec<(u16, u16)>)>,
}

/// What one side of a pod lets through, and the sets that this refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    /// It follows from what is let through.
    pub name: String,
    direction: Direction,
    allowed: Vec<Allow>,
    pub sets: Vec<SetKey>,
}

impl Chain {
    /// For packets of a family that go as the connection's first.
    pub fn rules(&self, family: IpFamily) -> Vec<Rule> {
        use Side::{Destination, Source};
        // The pod is one end; the other is where packets come from, or go to. Connections are made to the destination's port.
        self.written(match self.direction {
            Direction::Ingress => (family, Source, Destination),
            Direction::Egress => (family, Destination, Destination),
        })
    }

    /// For those that come back.
    pub fn replies(&self, family: IpFamily) -> Vec<Rule> {
        use Side::{Destination, Source};
        self.written(match self.direction {
            Direction::Ingress => (family, Destination, Source),
            Direction::Egress => (family, Source, Source),
        })
    }

    fn written(&self, sides: (IpFamily, Side, Side)) -> Vec<Rule> {
        let rules = self.allowed.iter().filter_map(|allow| rule(allow, sides));
        let sorted: BTreeMap<_, _> = rules.map(|rule| (rule.to_string(), rule)).collect();
        sorted.into_values().chain([Rule::new().drop()]).collect()
    }
}

impl Allow {
    fn text(&self) -> String {
        let other = match &self.other {
            Other::Everyone => "everyone".to_owned(),
            Other::Addresses(ranges) => elements(ranges),
            Other::Set(key) => key.name(),
        };
        match &self.ports {
            None => other,
            Some((protocol, ranges)) => {
                format!("{other} at {} {}", protocol.name(), elements(ranges))
            }
        }
    }
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

    /// What its elements are.
    pub fn kinds(&self, family: IpFamily) -> Vec<Kind> {
        match self {
            SetKey::Pods(_) => vec![Kind::Ip(family)],
            SetKey::Ports { .. } => vec![Kind::Ip(family), Kind::Port],
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
    let sorted: BTreeMap<_, _> = allowed.iter().map(|allow| (allow.text(), allow)).collect();
    let text: Vec<_> = sorted.keys().map(String::as_str).collect();
    let name = format!("{prefix}-{}", short_hash(&text.join("; ")));
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
        name,
        direction,
        allowed: sorted.into_values().cloned().collect(),
        sets,
    }
}

/// None where all that is allowed is of the other family.
fn rule(allow: &Allow, (family, address, port): (IpFamily, Side, Side)) -> Option<Rule> {
    let of = |protocol: &Protocol| Field::PortOf(protocol.number(), port);
    let address = Field::Address(family, address);
    let rule = match &allow.other {
        Other::Everyone => Rule::new(),
        Other::Addresses(ranges) => {
            let ours = ranges.iter().filter(|(first, _)| family.has(first));
            let ours = ours.map(|(first, last)| (Value::Ip(*first), Value::Ip(*last)));
            let ours: Vec<_> = ours.collect();
            if ours.is_empty() {
                return None;
            }
            Rule::new().when(address, Test::In(ours))
        }
        Other::Set(key @ SetKey::Pods(_)) => Rule::new().among(&[address], &key.name()),
        Other::Set(key @ SetKey::Ports { protocol, .. }) => {
            Rule::new().among(&[address, of(protocol)], &key.name())
        }
    };
    let rule = match &allow.ports {
        None => rule,
        Some((protocol, ranges)) if ranges.contains(&(0, u16::MAX)) => {
            let protocol = Value::Protocol(protocol.number());
            rule.when(Field::Protocol, Test::Is(protocol))
        }
        Some((protocol, ranges)) => {
            let ranges = ranges.iter();
            let ranges = ranges.map(|(first, last)| (Value::Port(*first), Value::Port(*last)));
            rule.when(of(protocol), Test::In(ranges.collect()))
        }
    };
    Some(rule.verdict(Verdict::Return))
}

/// The fields of a packet's ends.
fn ends(family: IpFamily) -> (Field, Field) {
    let end = |side| Field::Address(family, side);
    (end(Side::Source), end(Side::Destination))
}

const IN: Field = Field::Link(Side::Source);
const OUT: Field = Field::Link(Side::Destination);

/// A family's table without pods, in the place of whatever is there: all are closed, but for what the node itself sends them. `answered` is where
/// the node itself answers pods for the cluster.
pub fn base(family: IpFamily, answered: &[IpAddr]) -> Batch {
    let table = table(family);
    let (source, destination) = ends(family);
    let ip = Kind::Ip(family);
    let mut batch = Batch::new();
    batch.renew(&table, Some("network policies"));
    batch.set(&table, Set::new("pods", &[ip]));
    batch.set(&table, Set::new("self", &[ip, ip]));
    for map in ["ingress", "egress", "ingress-replies", "egress-replies"] {
        batch.set(&table, Set::verdicts(map, &[ip]));
    }
    let bridge = || Test::Is(Value::Link(BRIDGE.into()));
    let (from, to) = (
        || Rule::new().when(IN, bridge()),
        || Rule::new().when(OUT, bridge()),
    );
    let replies = vec![
        to().lookup(std::slice::from_ref(&destination), "egress-replies"),
        from().lookup(std::slice::from_ref(&source), "ingress-replies"),
    ];
    batch.chain(&table, "replies", None, replies);
    let stranger = Test::NotInSet("pods".into());
    let own = vec![
        Rule::new().when(source.clone(), stranger).drop(),
        Rule::new().lookup(&[source], "egress"),
        Rule::new().lookup(std::slice::from_ref(&destination), "ingress"),
    ];
    batch.chain(&table, "answered", None, own);
    let base = Some(Base::filter(Hook::Forward, 5));
    batch.chain(&table, "forward", base, forwarded(family));
    let own: Vec<_> = family.addresses(answered);
    let is_answered = !own.is_empty();
    let own = own.into_iter().map(Value::Ip).collect::<Vec<_>>();
    let own = own.into_iter().map(|ip| (ip.clone(), ip)).collect();
    let input = from().when(destination, Test::In(own)).goto("answered");
    let input = Vec::from_iter(Some(input).filter(|_| is_answered));
    let base = Some(Base::filter(Hook::Input, 5));
    batch.chain(&table, "input", base, input);
    batch
}

/// What passes the node.
fn forwarded(family: IpFamily) -> Vec<Rule> {
    let (source, destination) = ends(family);
    let protocol = match family {
        IpFamily::V4 => Field::IpProtocol,
        // Other headers may come before it.
        IpFamily::V6 => Field::Protocol,
    };
    let icmp = Test::Is(Value::Protocol(family.icmp()));
    let bridge = || Value::Link(BRIDGE.into());
    let from = || Rule::new().when(IN, Test::Is(bridge()));
    let to = || Rule::new().when(OUT, Test::Is(bridge()));
    let stranger = || Test::NotInSet("pods".into());
    let unreachable = Statement::Reject(Reject::HostUnreachable(family));
    vec![
        Rule::new()
            .when(IN, Test::IsNot(bridge()))
            .when(OUT, Test::IsNot(bridge()))
            .accept(),
        from().when(source.clone(), stranger()).drop(),
        to().when(destination.clone(), stranger()).then(unreachable),
        from().followed_by(to()).then(Statement::MarkOr(JUDGED)),
        Rule::new()
            .among(&[source.clone(), destination.clone()], "self")
            .accept(),
        Rule::new()
            .when(protocol, icmp)
            .when(Field::ConnectionState, Test::Has(RELATED))
            .accept(),
        Rule::new()
            .when(Field::ConnectionDirection, Test::Is(Value::Direction(1)))
            .goto("replies"),
        from().lookup(&[source], "egress"),
        to().lookup(&[destination], "ingress"),
    ]
}

/// The set of a family's addresses with the cables that they are behind.
pub fn cables(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "cables",
        IpFamily::V6 => "cables6",
    }
}

/// The table of family `bridge` without pods, in the place of whatever is there: their cables carry nothing. Later they carry packets of these families.
pub fn bridge_base(families: impl IntoIterator<Item = IpFamily>) -> Batch {
    let table = bridge_table();
    let mut batch = Batch::new();
    batch.renew(&table, Some("network policies"));
    let mut prerouting = vec![Rule::new().when(IN, Test::BeginsNot(LINKS.into())).accept()];
    for family in families {
        let key = [Kind::Link, Kind::Ip(family)];
        batch.set(&table, Set::new(cables(family), &key));
        prerouting.extend(carried(family));
    }
    prerouting.push(Rule::new().drop());
    let base = Some(Base::filter(Hook::Prerouting, -310));
    batch.chain(&table, "prerouting", base, prerouting);
    let past = Rule::new()
        .when(IN, Test::Begins(LINKS.into()))
        .when(OUT, Test::Begins(LINKS.into()))
        .when(Field::Mark, Test::Lacks(JUDGED))
        .drop();
    let base = Some(Base::filter(Hook::Forward, 10));
    batch.chain(&table, "forward", base, vec![past]);
    batch
}

/// What a pod's cable carries: packets from its own addresses, and what tells its neighbours of these and asks for theirs.
fn carried(family: IpFamily) -> Vec<Rule> {
    let of_type = |number| Rule::new().when(Field::EtherType, Test::Is(Value::EtherType(number)));
    let (source, _) = ends(family);
    let cables = cables(family);
    if family == IpFamily::V4 {
        return vec![
            of_type(0x0800).among(&[IN, source], cables).accept(),
            of_type(0x0806)
                .among(&[IN, Field::ArpSender], cables)
                .accept(),
        ];
    }
    let ip = of_type(0x86dd);
    let message = |kind| {
        let protocol = Test::Is(Value::Protocol(family.icmp()));
        Rule::new()
            .when(Field::Protocol, protocol)
            .when(Field::IcmpType, Test::Is(Value::IcmpType(kind)))
    };
    let told = vec![IN, Field::Neighbour];
    let of_others = Statement::Match(told, Test::NotInSet(cables.into()));
    // Who has no address yet asks whether somebody else has it.
    let nobody = Test::Is(Value::Ip(family.unspecified()));
    vec![
        ip.clone()
            .followed_by(message(ADVERTISEMENT))
            .then(of_others)
            .drop(),
        ip.clone().among(&[IN, source.clone()], cables).accept(),
        ip.when(source, nobody)
            .followed_by(message(SOLICITATION))
            .accept(),
    ]
}
