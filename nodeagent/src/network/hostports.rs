//! Ports of the node that lead to ports of its pods (`ports[].hostPort`): one small nftables table, written anew with each change.
//!
//! Invariant: the table holds exactly the ports of the pods given. Services' node ports come first where both claim a port. The node's loopback address is
//! not served. Follows the `portmap` plugin of the CNI project.

use std::{collections::BTreeMap, net::Ipv4Addr};

use super::{HostPort, nft::line, services::Protocol};

pub const TABLE: &str = "skiff-hostports";

/// The script from whatever is there to the ports of these pods.
pub fn table(pods: &BTreeMap<Ipv4Addr, Vec<HostPort>>) -> String {
    let mut text = format!("add table ip {TABLE}\ndelete table ip {TABLE}\n");
    if pods.values().all(Vec::is_empty) {
        return text;
    }
    let (mut maps, mut rules) = (String::new(), String::new());
    for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
        let name = protocol.name();
        let of = |at_address: bool| {
            let ports = pods
                .iter()
                .flat_map(|(pod, ports)| ports.iter().map(move |p| (pod, p)));
            let ports = ports
                .filter(move |(_, p)| p.protocol == protocol && p.host_ip.is_some() == at_address);
            ports
                .map(|(pod, p)| (p.host_ip, p.host_port, *pod, p.container_port))
                .collect::<Vec<_>>()
        };
        let elements: Vec<_> = of(true)
            .iter()
            .filter_map(|(at, port, pod, to)| Some(format!("{} . {port} : {pod} . {to}", (*at)?)))
            .collect();
        if !elements.is_empty() {
            line!(
                maps,
                "map {name}-at {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; elements = {{ {} }}; }}",
                elements.join(", ")
            );
            line!(
                rules,
                "meta l4proto {name} dnat ip addr . port to ip daddr . {name} dport map @{name}-at"
            );
        }
        let elements: Vec<_> = of(false)
            .iter()
            .map(|(_, port, pod, to)| format!("{port} : {pod} . {to}"))
            .collect();
        if !elements.is_empty() {
            line!(
                maps,
                "map {name}-any {{ type inet_service : ipv4_addr . inet_service; elements = {{ {} }}; }}",
                elements.join(", ")
            );
            line!(
                rules,
                "meta l4proto {name} dnat ip addr . port to {name} dport map @{name}-any"
            );
        }
    }
    let pairs: Vec<_> = pods
        .iter()
        .filter(|(_, ports)| !ports.is_empty())
        .map(|(pod, _)| format!("{pod} . {pod}"))
        .collect();
    line!(
        text,
        "table ip {TABLE} {{\n{maps}set hairpin {{ type ipv4_addr . ipv4_addr; elements = {{ {} }}; }}\n\
         chain ports {{\n{rules}}}\n\
         chain prerouting {{ type nat hook prerouting priority -99; fib daddr type local ip daddr != 127.0.0.0/8 jump ports\n}}\n\
         chain output {{ type nat hook output priority -99; fib daddr type local ip daddr != 127.0.0.0/8 jump ports\n}}\n\
         chain postrouting {{ type nat hook postrouting priority 105; ct status dnat ip saddr . ip daddr @hairpin masquerade\n}}\n}}",
        pairs.join(", ")
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables() {
        assert_eq!(
            table(&BTreeMap::new()).lines().count(),
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
                Ipv4Addr::new(10, 244, 0, 2),
                vec![
                    port(Protocol::Tcp, None, 8080),
                    port(Protocol::Udp, Some("10.0.0.1"), 53),
                ],
            ),
            (Ipv4Addr::new(10, 244, 0, 3), vec![]),
        ]);
        let text = table(&pods);
        for part in [
            "map tcp-any { type inet_service : ipv4_addr . inet_service; elements = { 8080 : 10.244.0.2 . 80 }; }",
            "elements = { 10.0.0.1 . 53 : 10.244.0.2 . 80 }",
            "meta l4proto udp dnat ip addr . port to ip daddr . udp dport map @udp-at",
            "elements = { 10.244.0.2 . 10.244.0.2 }",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
        assert!(!text.contains("10.244.0.3") && !text.contains("sctp"));
    }
}
