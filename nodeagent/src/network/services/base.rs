//! The table of services as it is without one: what all of them share, and where packets come to it.
//!
//! Invariant: pure; nothing in it is a service's. Follows `setupNFTables` in `pkg/proxy/nftables/proxier.go` upstream.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::{
    super::nft::{
        Base, Batch, DNAT, Field, Hook, LOCAL, NEW, Reject, Rule, Side, Statement, Test, Value,
        Verdict,
    },
    elements::{Shared, table},
    plan::Protocol,
};

/// Of packets whose sender is to be hidden.
pub const MARK: u32 = 0x4000;
pub const FROM: Field = Field::Address(Side::Source);
const TO: Field = Field::Address(Side::Destination);
pub const BY_IP: [Field; 3] = [TO, Field::Protocol, Field::Port(Side::Destination)];
const BY_PORT: [Field; 2] = [Field::Protocol, Field::Port(Side::Destination)];

/// What the rules of a node depend on besides the services.
#[derive(Clone, Debug)]
pub struct NodeRules {
    /// The addresses of this node's own pods.
    pub pod_cidr: IpNet,
    /// What is sent to an address of it that no service has is dropped.
    pub service_cidr: Option<IpNet>,
    pub node_ips: Vec<Ipv4Addr>,
    /// Addresses of `service_cidr` that are no service's but answered all the same: cluster DNS.
    pub own_cluster_ips: Vec<Ipv4Addr>,
}

/// A rule for what is sent to the node itself.
fn local() -> Rule {
    const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
    Rule::new()
        .when(
            Field::AddressType(Side::Destination),
            Test::Is(Value::Number(LOCAL)),
        )
        .when(TO, Test::Outside(LOOPBACK))
}

/// A rule for what is not from this network; pods have no other addresses than of version 4.
fn not_from(net: IpNet) -> Rule {
    match net {
        IpNet::V4(net) => Rule::new().when(FROM, Test::Outside(net)),
        IpNet::V6(_) => Rule::new(),
    }
}

fn first_of(chain: &str) -> Rule {
    Rule::new()
        .when(Field::ConnectionState, Test::Has(NEW))
        .jump(chain)
}

/// The table without services, in the place of whatever is there.
pub fn base(node: &NodeRules) -> Batch {
    let table = table();
    let mut batch = Batch::new();
    batch.renew(&table, Some("services"));
    for shared in Shared::ALL {
        batch.set(&table, shared.set());
    }
    for (name, rules) in [
        ("refuse", refuse()),
        ("services", services(node)),
        ("masquerading", masquerading()),
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
fn refuse() -> Vec<Rule> {
    let tcp = Test::Is(Value::Protocol(Protocol::Tcp.number()));
    let tcp = Rule::new().when(Field::Protocol, tcp);
    vec![
        tcp.then(Statement::Reject(Reject::TcpReset)),
        Rule::new().then(Statement::Reject(Reject::PortUnreachable)),
    ]
}

/// Which service it is that a connection is for.
fn services(node: &NodeRules) -> Vec<Rule> {
    let marked = Rule::new().among(&[TO], Shared::ClusterIps.name());
    let marked = marked.followed_by(not_from(node.pod_cidr));
    vec![
        marked.then(Statement::MarkOr(MARK)),
        Rule::new().lookup(&BY_IP, Shared::ServiceIps.name()),
        local().lookup(&BY_PORT, Shared::ServiceNodePorts.name()),
    ]
}

/// Whose sender is hidden: as the endpoint must answer through this node, or as it is the sender itself.
fn masquerading() -> Vec<Rule> {
    let hidden = Statement::Masquerade { random: true };
    let back = [FROM, TO, Field::Protocol, Field::Port(Side::Destination)];
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
    let by_ip = |map: Shared| vec![Rule::new().lookup(&BY_IP, map.name())];
    let nodeports = local().lookup(&BY_PORT, Shared::NoEndpointNodePorts.name());
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
    if !node.own_cluster_ips.is_empty() {
        let own = node.own_cluster_ips.iter().map(|ip| Value::Ip(*ip));
        let own = own.map(|ip| (ip.clone(), ip)).collect();
        let spared = Rule::new().when(TO, Test::In(own));
        rules.push(spared.verdict(Verdict::Return));
    }
    let known = Rule::new().among(&[TO], Shared::ClusterIps.name());
    rules.push(known.goto("refuse"));
    if let Some(IpNet::V4(cidr)) = node.service_cidr {
        rules.push(Rule::new().when(TO, Test::Within(cidr.trunc())).drop());
    }
    rules
}
