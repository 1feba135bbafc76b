//! The nftables form of walls: the tables without pods, and what is in a chain.
//!
//! Invariant: pure. Only what comes from a pod of this node or goes to one is looked at; what the node itself sends to its pods, and they to it, is not.
//! Each packet is judged, in both directions, by the two chains that its connection's first packet met: so no connection outlives what allowed it.
//! Of a bridge's frames, a pod's cable carries only those of its own address, and none from pod to pod past the node's IP layer.

use std::{
    collections::{BTreeMap, HashMap},
    net::Ipv4Addr,
};

use sha2::{Digest, Sha256};

use super::{
    super::{
        nft::{
            Base, Batch, Field, Hook, Kind, RELATED, Reject, Rule, Set, Side, Statement, Table,
            Test, Value, Verdict,
        },
        pods::BRIDGE,
        services::Protocol,
    },
    read::{Namespaces, Peer, PodPeer},
    view::{Labels, Pod},
};

/// The name of both tables, of family `ip` and `bridge`.
pub const TABLE: &str = "skiff-policy";
/// What the node's end of a pod's cable begins with.
pub const LINKS: &str = "skiffp";
/// Of packets that were judged on a bridge whose frames the kernel passes through the rules for IP.
const JUDGED: u32 = 0x2000;

/// The table of family `ip`.
pub fn table() -> Table {
    Table::ip(TABLE)
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
    pub rules: Vec<Rule>,
    /// For those that come back.
    pub replies: Vec<Rule>,
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

    /// What its elements are.
    pub fn kinds(&self) -> &'static [Kind] {
        match self {
            SetKey::Pods(_) => &[Kind::Ip],
            SetKey::Ports { .. } => &[Kind::Ip, Kind::Port],
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
    use Side::{Destination, Source};
    let prefix = match direction {
        Direction::Ingress => "in",
        Direction::Egress => "out",
    };
    // The pod is one end; the other is where packets come from, or go to. Connections are made to the destination's port.
    let (there, back) = match direction {
        Direction::Ingress => ((Source, Destination), (Destination, Source)),
        Direction::Egress => ((Destination, Destination), (Source, Source)),
    };
    let all = |sides| {
        let rules = allowed.iter().map(|allow| rule(allow, sides));
        let sorted: BTreeMap<_, _> = rules.map(|rule| (rule.to_string(), rule)).collect();
        let rules = sorted.into_values().chain([Rule::new().drop()]);
        rules.collect::<Vec<_>>()
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
    let text: String = rules.iter().map(Rule::to_string).collect();
    Chain {
        name: format!("{prefix}-{}", short_hash(&text)),
        rules,
        replies,
        sets,
    }
}

fn rule(allow: &Allow, (address, port): (Side, Side)) -> Rule {
    let of = |protocol: &Protocol| Field::PortOf(protocol.number(), port);
    let address = Field::Address(address);
    let rule = match &allow.other {
        Other::Everyone => Rule::new(),
        Other::Addresses(ranges) => {
            let ranges = ranges.iter();
            let ranges = ranges.map(|(first, last)| (Value::Ip(*first), Value::Ip(*last)));
            Rule::new().when(address, Test::In(ranges.collect()))
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
    rule.verdict(Verdict::Return)
}

const FROM: Field = Field::Address(Side::Source);
const TO: Field = Field::Address(Side::Destination);
const IN: Field = Field::Link(Side::Source);
const OUT: Field = Field::Link(Side::Destination);

/// The table of family `ip` without pods, in the place of whatever is there: all are closed, but for what the node itself sends them. `answered` is where
/// the node itself answers pods for the cluster.
pub fn base(answered: &[Ipv4Addr]) -> Batch {
    let table = table();
    let mut batch = Batch::new();
    batch.renew(&table, Some("network policies"));
    batch.set(&table, Set::new("pods", &[Kind::Ip]));
    batch.set(&table, Set::new("self", &[Kind::Ip, Kind::Ip]));
    for map in ["ingress", "egress", "ingress-replies", "egress-replies"] {
        batch.set(&table, Set::verdicts(map, &[Kind::Ip]));
    }
    let bridge = || Test::Is(Value::Link(BRIDGE.into()));
    let (from, to) = (
        || Rule::new().when(IN, bridge()),
        || Rule::new().when(OUT, bridge()),
    );
    let replies = vec![
        to().lookup(&[TO], "egress-replies"),
        from().lookup(&[FROM], "ingress-replies"),
    ];
    batch.chain(&table, "replies", None, replies);
    let stranger = Test::NotInSet("pods".into());
    let own = vec![
        Rule::new().when(FROM, stranger).drop(),
        Rule::new().lookup(&[FROM], "egress"),
        Rule::new().lookup(&[TO], "ingress"),
    ];
    batch.chain(&table, "answered", None, own);
    let base = Some(Base::filter(Hook::Forward, 5));
    batch.chain(&table, "forward", base, forwarded());
    let own: Vec<_> = answered.iter().map(|ip| Value::Ip(*ip)).collect();
    let own = own.into_iter().map(|ip| (ip.clone(), ip)).collect();
    let input = from().when(TO, Test::In(own)).goto("answered");
    let input = Vec::from_iter(Some(input).filter(|_| !answered.is_empty()));
    let base = Some(Base::filter(Hook::Input, 5));
    batch.chain(&table, "input", base, input);
    batch
}

/// What passes the node.
fn forwarded() -> Vec<Rule> {
    let bridge = || Value::Link(BRIDGE.into());
    let from = || Rule::new().when(IN, Test::Is(bridge()));
    let to = || Rule::new().when(OUT, Test::Is(bridge()));
    let stranger = || Test::NotInSet("pods".into());
    let unreachable = Statement::Reject(Reject::HostUnreachable);
    vec![
        Rule::new()
            .when(IN, Test::IsNot(bridge()))
            .when(OUT, Test::IsNot(bridge()))
            .accept(),
        from().when(FROM, stranger()).drop(),
        to().when(TO, stranger()).then(unreachable),
        from().followed_by(to()).then(Statement::MarkOr(JUDGED)),
        Rule::new().among(&[FROM, TO], "self").accept(),
        Rule::new()
            .when(Field::IpProtocol, Test::Is(Value::Protocol(1)))
            .when(Field::ConnectionState, Test::Has(RELATED))
            .accept(),
        Rule::new()
            .when(Field::ConnectionDirection, Test::Is(Value::Direction(1)))
            .goto("replies"),
        from().lookup(&[FROM], "egress"),
        to().lookup(&[TO], "ingress"),
    ]
}

/// The table of family `bridge` without pods, in the place of whatever is there: their cables carry nothing.
pub fn bridge_base() -> Batch {
    let table = bridge_table();
    let mut batch = Batch::new();
    batch.renew(&table, Some("network policies"));
    batch.set(&table, Set::new("cables", &[Kind::Link, Kind::Ip]));
    let of_type = |number| Rule::new().when(Field::EtherType, Test::Is(Value::EtherType(number)));
    let (ip, arp) = (of_type(0x0800), of_type(0x0806));
    let prerouting = vec![
        Rule::new().when(IN, Test::BeginsNot(LINKS.into())).accept(),
        ip.among(&[IN, FROM], "cables").accept(),
        arp.among(&[IN, Field::ArpSender], "cables").accept(),
        Rule::new().drop(),
    ];
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
