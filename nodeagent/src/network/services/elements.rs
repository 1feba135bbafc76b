//! The maps and sets that all services share, and what is in them.
//!
//! Invariant: keys and what they lead to are small, as there are many of them; what nftables calls them is made when it is told.

use std::net::IpAddr;

use super::super::{
    family::IpFamily,
    nft::{Element, Held, Kind, Name, Set, Table, Value, Verdict},
};
use crate::network::protocol::Protocol;

pub const TABLE: &str = "skiff-proxy";

/// The table of services of a family.
pub fn table(family: IpFamily) -> Table {
    family.table(TABLE)
}

/// A map or set that all services share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shared {
    ServiceIps,
    ServiceNodePorts,
    NoEndpointServices,
    NoEndpointNodePorts,
    FirewallIps,
    ClusterIps,
    Hairpin,
    Endpoints,
}

impl Shared {
    pub fn name(self) -> &'static str {
        match self {
            Shared::ServiceIps => "service-ips",
            Shared::ServiceNodePorts => "service-nodeports",
            Shared::NoEndpointServices => "no-endpoint-services",
            Shared::NoEndpointNodePorts => "no-endpoint-nodeports",
            Shared::FirewallIps => "firewall-ips",
            Shared::ClusterIps => "cluster-ips",
            Shared::Hairpin => "hairpin",
            Shared::Endpoints => "endpoints",
        }
    }

    /// As it is declared.
    pub fn set(self, family: IpFamily) -> Set {
        use Kind::{Number, Port, Protocol};
        let ip = Kind::Ip(family);
        let name = self.name();
        match self {
            Shared::ServiceIps | Shared::NoEndpointServices | Shared::FirewallIps => {
                Set::verdicts(name, &[ip, Protocol, Port])
            }
            Shared::ServiceNodePorts | Shared::NoEndpointNodePorts => {
                Set::verdicts(name, &[Protocol, Port])
            }
            Shared::ClusterIps => Set::new(name, &[ip]),
            Shared::Hairpin => Set::new(name, &[ip, ip, Protocol, Port]),
            Shared::Endpoints => Set::map(name, &[ip, Protocol, Port, Number], &[ip, Port]),
        }
    }

    pub const ALL: [Shared; 8] = [
        Shared::ServiceIps,
        Shared::ServiceNodePorts,
        Shared::NoEndpointServices,
        Shared::NoEndpointNodePorts,
        Shared::FirewallIps,
        Shared::ClusterIps,
        Shared::Hairpin,
        Shared::Endpoints,
    ];
}

/// The key of an element. There are many of them, so they are small.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    Ip(IpAddr),
    At(IpAddr, Protocol, u16),
    Port(Protocol, u16),
    /// From an endpoint to itself.
    Back(IpAddr, Protocol, u16),
    /// One of the endpoints of whoever answers there.
    Nth(IpAddr, Protocol, u16, u32),
}

impl Key {
    fn values(self) -> Vec<Value> {
        let protocol = |protocol: Protocol| Value::Protocol(protocol.number());
        match self {
            Key::Ip(ip) => vec![Value::Ip(ip)],
            Key::At(ip, of, port) => vec![Value::Ip(ip), protocol(of), Value::Port(port)],
            Key::Port(of, port) => vec![protocol(of), Value::Port(port)],
            Key::Back(ip, of, port) => {
                let ip = Value::Ip(ip);
                vec![ip.clone(), ip, protocol(of), Value::Port(port)]
            }
            Key::Nth(ip, of, port, index) => vec![
                Value::Ip(ip),
                protocol(of),
                Value::Port(port),
                Value::Number(index),
            ],
        }
    }
}

/// What an element has for its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leads {
    /// It is only there.
    Nowhere,
    Goto(Name),
    Drop,
    Refuse,
    To(IpAddr, u16),
    /// The chain that picks one of so many endpoints.
    Pick(u32),
}

/// The name of the chain that picks one of so many endpoints.
pub fn pick(count: u32) -> Name {
    format!("pick-{count}").into()
}

/// An element as nftables has it.
pub fn element(key: Key, leads: &Leads) -> Element {
    let held = match leads {
        Leads::Nowhere => Held::Nothing,
        Leads::Goto(chain) => Held::Verdict(Verdict::Goto(chain.clone())),
        Leads::Drop => Held::Verdict(Verdict::Drop),
        Leads::Refuse => Held::Verdict(Verdict::Goto("refuse".into())),
        Leads::To(ip, port) => Held::Values(vec![Value::Ip(*ip), Value::Port(*port)]),
        Leads::Pick(count) => Held::Verdict(Verdict::Goto(pick(*count))),
    };
    Element {
        held,
        ..Element::of(key.values())
    }
}
