//! Ports of the node that lead to ports of its pods (`ports[].hostPort`): one small nftables table a family, written anew with each change.
//!
//! Invariant: the table holds exactly the ports of the pods given. Services' node ports come first where both claim a port. The node's loopback address is
//! not served. Follows the `portmap` plugin of the CNI project.

use std::{collections::BTreeMap, net::IpAddr};

use super::{
    HostPort,
    family::IpFamily,
    nft::{
        Base, Batch, Change, DNAT, Element, Field, Hook, Kind, LOCAL, Rule, Set, Side, Statement,
        Table, Test, Value,
    },
    protocol::Protocol,
};

pub const TABLE: &str = "skiff-hostports";

/// From whatever is there to the ports of these pods, all of whose addresses are of the family.
pub fn table(family: IpFamily, pods: &BTreeMap<IpAddr, Vec<HostPort>>) -> Batch {
    let table = family.table(TABLE);
    if pods.values().all(Vec::is_empty) {
        return Batch::cleared(&table);
    }
    let mut batch = Batch::new();
    batch.renew(&table, None);
    let mut rules = Vec::new();
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        for at_address in [true, false] {
            let elements = elements(pods, protocol, at_address);
            if !elements.is_empty() {
                let rule = ports(&mut batch, (family, &table), protocol, at_address, elements);
                rules.push(rule);
            }
        }
    }
    batch.set(
        &table,
        Set::new("hairpin", &[Kind::Ip(family), Kind::Ip(family)]),
    );
    let with_ports = pods.iter().filter(|(_, ports)| !ports.is_empty());
    let pairs = with_ports.map(|(pod, _)| Element::of(vec![Value::Ip(*pod), Value::Ip(*pod)]));
    batch.push(
        &table,
        Change::AddElements("hairpin".into(), pairs.collect()),
    );
    batch.chain(&table, "ports", None, rules);
    let (from, to) = (
        Field::Address(family, Side::Source),
        Field::Address(family, Side::Destination),
    );
    let local = Test::Is(Value::Number(LOCAL));
    let here = Rule::new()
        .when(Field::AddressType(Side::Destination), local)
        .when(to.clone(), Test::Outside(family.loopback()))
        .jump("ports");
    for (name, hook) in [("prerouting", Hook::Prerouting), ("output", Hook::Output)] {
        batch.chain(&table, name, Some(Base::nat(hook, -99)), vec![here.clone()]);
    }
    let back = Rule::new()
        .when(Field::ConnectionStatus, Test::Has(DNAT))
        .among(&[from, to], "hairpin")
        .then(Statement::Masquerade { random: false });
    let after = Some(Base::nat(Hook::Postrouting, 105));
    batch.chain(&table, "postrouting", after, vec![back]);
    batch
}

/// Of a protocol, those at one address of the node, or those at all.
fn elements(
    pods: &BTreeMap<IpAddr, Vec<HostPort>>,
    protocol: Protocol,
    at_address: bool,
) -> Vec<Element> {
    let all = pods
        .iter()
        .flat_map(|(pod, ports)| ports.iter().map(move |p| (*pod, p)));
    // An address of the node leads to the pod's of the same family.
    let reaches = |pod: IpAddr, p: &HostPort| {
        let of_pod = |ip| IpFamily::of(ip) == IpFamily::of(pod);
        p.host_ip.is_none_or(of_pod)
    };
    let ours = all.filter(|(pod, p)| {
        p.protocol == protocol && p.host_ip.is_some() == at_address && reaches(*pod, p)
    });
    let element = |(pod, p): (IpAddr, &HostPort)| {
        let at = p.host_ip.map(Value::Ip).into_iter();
        let key = at.chain([Value::Port(p.host_port)]).collect();
        Element::values(key, vec![Value::Ip(pod), Value::Port(p.container_port)])
    };
    ours.map(element).collect()
}

/// Makes the map of these, and the rule that looks into it.
fn ports(
    batch: &mut Batch,
    (family, table): (IpFamily, &Table),
    protocol: Protocol,
    at_address: bool,
    elements: Vec<Element>,
) -> Rule {
    let port = Field::PortOf(protocol.number(), Side::Destination);
    let (place, kinds, fields) = if at_address {
        let fields = vec![Field::Address(family, Side::Destination), port];
        ("at", vec![Kind::Ip(family), Kind::Port], fields)
    } else {
        ("any", vec![Kind::Port], vec![port])
    };
    let name = format!("{}-{place}", protocol.name());
    batch.set(
        table,
        Set::map(&name, &kinds, &[Kind::Ip(family), Kind::Port]),
    );
    let add = Change::AddElements(name.as_str().into(), elements);
    batch.push(table, add);
    Rule::new().then(Statement::DnatByMap(family, fields, name.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        assert_eq!(
            table(IpFamily::V4, &BTreeMap::new()).changes.len(),
            2,
            "no ports, no table"
        );
        let port = |protocol, host_ip: Option<&str>, host_port| HostPort {
            protocol,
            host_ip: host_ip.map(|ip| ip.parse().unwrap()),
            host_port,
            container_port: 80,
        };
        let pods = BTreeMap::from([
            (
                IpAddr::from([10, 244, 0, 2]),
                vec![
                    port(Protocol::Tcp, None, 8080),
                    port(Protocol::Udp, Some("10.0.0.1"), 53),
                    port(Protocol::Udp, Some("fd00::1"), 54),
                ],
            ),
            (IpAddr::from([10, 244, 0, 3]), vec![]),
        ]);
        let text = table(IpFamily::V4, &pods).to_string();
        for part in [
            "add map ip skiff-hostports tcp-any { type inet_service : ipv4_addr . inet_service; }",
            "tcp-any { 8080 : 10.244.0.2 . 80 }",
            "udp-at { 10.0.0.1 . 53 : 10.244.0.2 . 80 }",
            "dnat ip addr . port to ip daddr . udp dport map @udp-at",
            "hairpin { 10.244.0.2 . 10.244.0.2 }",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("10.244.0.3") && !text.contains("sctp"));
        assert!(
            !text.contains("54"),
            "an address of the other family: {text}"
        );
        let ports = vec![
            port(Protocol::Sctp, None, 36412),
            port(Protocol::Udp, Some("fd00::1"), 54),
            port(Protocol::Udp, Some("10.0.0.1"), 53),
        ];
        let pods = BTreeMap::from([("fd00:244::2".parse().unwrap(), ports)]);
        let text = table(IpFamily::V6, &pods).to_string();
        for part in [
            "add map ip6 skiff-hostports sctp-any { type inet_service : ipv6_addr . inet_service; }",
            "sctp-any { 36412 : fd00:244::2 . 80 }",
            "dnat ip6 addr . port to sctp dport map @sctp-any",
            "udp-at { fd00::1 . 54 : fd00:244::2 . 80 }",
            "ip6 daddr != ::1/128 jump ports",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("10.0.0.1"), "{text}");
    }
}
