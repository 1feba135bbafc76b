//! The table of services as it is without one: what all of them share, and where packets come to it.
//!
//! Invariant: pure; nothing in it is a service's. Follows `setupNFTables` in `pkg/proxy/nftables/proxier.go` upstream.

use std::net::IpAddr;

use ipnet::IpNet;

use super::{
    super::{
        family::IpFamily,
        nft::{
            Base, Batch, DNAT, Field, Hook, LOCAL, NEW, Reject, Rule, Side, Statement, Test, Value,
            Verdict,
        },
    },
    elements::{Shared, table},
};
use crate::network::protocol::Protocol;

/// Of packets whose sender is to be hidden.
pub const MARK: u32 = 0x4000;

/// A packet's sender.
pub fn from(family: IpFamily) -> Field {
    Field::Address(family, Side::Source)
}

fn to(family: IpFamily) -> Field {
    Field::Address(family, Side::Destination)
}

/// The address, protocol and port that a packet is for.
pub fn by_ip(family: IpFamily) -> [Field; 3] {
    [to(family), Field::Protocol, Field::Port(Side::Destination)]
}

const BY_PORT: [Field; 2] = [Field::Protocol, Field::Port(Side::Destination)];

/// What the rules of a node depend on besides the services. All addresses are of the family.
#[derive(Clone, Debug)]
pub struct NodeRules {
    pub family: IpFamily,
    /// The addresses of this node's own pods.
    pub pod_cidr: IpNet,
    /// What is sent to an address of it that no service has is dropped.
    pub service_cidr: Option<IpNet>,
    pub node_ips: Vec<IpAddr>,
    /// Addresses of `service_cidr` that are no service's but answered all the same: cluster DNS.
    pub own_cluster_ips: Vec<IpAddr>,
}

/// A rule for what is sent to the node itself.
fn local(family: IpFamily) -> Rule {
    Rule::new()
        .when(
            Field::AddressType(Side::Destination),
            Test::Is(Value::Number(LOCAL)),
        )
        .when(to(family), Test::Outside(family.loopback()))
}

fn first_of(chain: &str) -> Rule {
    Rule::new()
        .when(Field::ConnectionState, Test::Has(NEW))
        .jump(chain)
}

/// The table without services, in the place of whatever is there.
pub fn base(node: &NodeRules) -> Batch {
    let family = node.family;
    let table = table(family);
    let mut batch = Batch::new();
    batch.renew(&table, Some("services"));
    for shared in Shared::ALL {
        batch.set(&table, shared.set(family));
    }
    for (name, rules) in [
        ("refuse", refuse(family)),
        ("services", services(node)),
        ("masquerading", masquerading(family)),
    ] {
        batch.chain(&table, name, None, rules);
    }
    for (name, rules) in checks(node) {
        batch.chain(&table, name, None, rules);
    }
    for (name, base, rules) in entrances() {
        batch.chain(&table, name, Some(base), rules);
    }
    batch
}

/// A client is told that nobody is there.
fn refuse(family: IpFamily) -> Vec<Rule> {
    let tcp = Test::Is(Value::Protocol(Protocol::Tcp.number()));
    let tcp = Rule::new().when(Field::Protocol, tcp);
    vec![
        tcp.then(Statement::Reject(Reject::TcpReset)),
        Rule::new().then(Statement::Reject(Reject::PortUnreachable(family))),
    ]
}

/// Which service it is that a connection is for.
fn services(node: &NodeRules) -> Vec<Rule> {
    let family = node.family;
    let marked = Rule::new()
        .among(&[to(family)], Shared::ClusterIps.name())
        .when(from(family), Test::Outside(node.pod_cidr));
    vec![
        marked.then(Statement::MarkOr(MARK)),
        Rule::new().lookup(&by_ip(family), Shared::ServiceIps.name()),
        local(family).lookup(&BY_PORT, Shared::ServiceNodePorts.name()),
    ]
}

/// Whose sender is hidden: as the endpoint must answer through this node, or as it is the sender itself.
fn masquerading(family: IpFamily) -> Vec<Rule> {
    let hidden = Statement::Masquerade { random: true };
    let [to, protocol, port] = by_ip(family);
    let back = [from(family), to, protocol, port];
    vec![
        Rule::new()
            .when(Field::Mark, Test::Has(MARK))
            .then(Statement::MarkXor(MARK))
            .then(hidden.clone()),
        Rule::new()
            .when(Field::ConnectionStatus, Test::Has(DNAT))
            .among(&back, Shared::Hairpin.name())
            .then(hidden),
    ]
}

/// What does not get through.
fn checks(node: &NodeRules) -> [(&'static str, Vec<Rule>); 4] {
    let family = node.family;
    let by_ip = |map: Shared| vec![Rule::new().lookup(&by_ip(family), map.name())];
    let nodeports = local(family).lookup(&BY_PORT, Shared::NoEndpointNodePorts.name());
    [
        ("endpoints-check", by_ip(Shared::NoEndpointServices)),
        ("nodeports-check", vec![nodeports]),
        ("firewall-check", by_ip(Shared::FirewallIps)),
        ("cluster-ips-check", unanswered(node)),
    ]
}

/// Where packets come to it.
fn entrances() -> [(&'static str, Base, Vec<Rule>); 8] {
    use Hook::{Forward, Input, Output, Postrouting, Prerouting};
    let (nat, filter) = (Base::nat, Base::filter);
    let jump = |to: &str| vec![Rule::new().jump(to)];
    let (one, other) = ("endpoints-check", "cluster-ips-check");
    let firewall = || vec![first_of("firewall-check")];
    let input = vec![first_of("nodeports-check"), first_of(one)];
    let away = || vec![first_of(one), first_of(other)];
    [
        ("nat-prerouting", nat(Prerouting, -100), jump("services")),
        ("nat-output", nat(Output, -100), jump("services")),
        (
            "nat-postrouting",
            nat(Postrouting, 100),
            jump("masquerading"),
        ),
        ("filter-prerouting", filter(Prerouting, -110), firewall()),
        ("filter-output-early", filter(Output, -110), firewall()),
        ("filter-input", filter(Input, 0), input),
        ("filter-forward", filter(Forward, 0), away()),
        ("filter-output", filter(Output, 0), away()),
    ]
}

/// For what no service's port was found for.
fn unanswered(node: &NodeRules) -> Vec<Rule> {
    let mut rules = Vec::new();
    let to = || to(node.family);
    if !node.own_cluster_ips.is_empty() {
        let own = node.own_cluster_ips.iter().map(|ip| Value::Ip(*ip));
        let own = own.map(|ip| (ip.clone(), ip)).collect();
        let spared = Rule::new().when(to(), Test::In(own));
        rules.push(spared.verdict(Verdict::Return));
    }
    let known = Rule::new().among(&[to()], Shared::ClusterIps.name());
    rules.push(known.goto("refuse"));
    if let Some(cidr) = node.service_cidr {
        rules.push(Rule::new().when(to(), Test::Within(cidr.trunc())).drop());
    }
    rules
}
