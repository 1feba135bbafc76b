//! Subsets of endpoints in their canonical form: each address once for each set of ports.
//!
//! Invariant: an address that is ready for a port in one place and not ready in another is not ready. Follows pkg/api/v1/endpoints/util.go
//! (RepackSubsets); ports are in the order of their hashes, as there, and subsets in that of their ports.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};

use crate::hash::fnv128a;

/// A port as it can be compared: name, number, protocol, application protocol.
type Port = (Option<String>, i32, Option<String>, Option<String>);
/// Addresses by IP and target.
type Addresses = BTreeMap<(String, Option<String>), (EndpointAddress, bool)>;

/// Packs subsets.
#[derive(Default)]
pub struct Packer {
    /// `None` for what has no ports at all.
    by_port: BTreeMap<Option<Port>, Addresses>,
}

impl Packer {
    /// Of something with an address that offers this port.
    pub fn add(&mut self, port: Option<&EndpointPort>, address: &EndpointAddress, ready: bool) {
        let port = port.map(|port| {
            (
                port.name.clone().filter(|n| !n.is_empty()),
                port.port,
                port.protocol.clone(),
                port.app_protocol.clone(),
            )
        });
        let key = (
            address.ip.clone(),
            address
                .target_ref
                .as_ref()
                .and_then(|target| target.uid.clone()),
        );
        let known = self
            .by_port
            .entry(port)
            .or_default()
            .entry(key)
            .or_insert_with(|| (address.clone(), ready));
        known.1 &= ready;
    }

    /// All that a subset holds.
    pub fn add_subset(&mut self, subset: &EndpointSubset) {
        let ready = subset
            .addresses
            .iter()
            .flatten()
            .map(|address| (address, true));
        for (address, ready) in ready.chain(
            subset
                .not_ready_addresses
                .iter()
                .flatten()
                .map(|address| (address, false)),
        ) {
            match subset.ports.as_deref() {
                None | Some([]) => self.add(None, address, ready),
                Some(ports) => ports
                    .iter()
                    .for_each(|port| self.add(Some(port), address, ready)),
            }
        }
    }

    pub fn packed(self) -> Vec<EndpointSubset> {
        let mut packed = Vec::<(Addresses, Vec<Port>)>::new();
        for (port, addresses) in self.by_port {
            match packed.iter_mut().find(|(known, _)| *known == addresses) {
                Some((_, ports)) => ports.extend(port),
                None => packed.push((addresses, port.into_iter().collect())),
            }
        }
        packed
            .into_iter()
            .map(|(addresses, ports)| subset(addresses, ports))
            .collect()
    }
}

/// What upstream hashes: the port as Go shows it.
fn shown((name, port, protocol, app_protocol): &Port) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let app_protocol = app_protocol.as_deref().unwrap_or("<nil>");
    format!(
        "(v1.EndpointPort){{Name:(string){} Port:(int32){port} Protocol:(v1.Protocol){} AppProtocol:(*string){app_protocol}}}",
        text(name),
        text(protocol),
    )
}

fn subset(addresses: Addresses, mut ports: Vec<Port>) -> EndpointSubset {
    ports.sort_by_cached_key(|port| fnv128a(shown(port).as_bytes()));
    let (ready, not_ready): (Vec<_>, Vec<_>) =
        addresses.into_values().partition(|(_, ready)| *ready);
    let list = |some: Vec<(EndpointAddress, bool)>| {
        (!some.is_empty()).then(|| some.into_iter().map(|(address, _)| address).collect())
    };
    let port = |(name, port, protocol, app_protocol): Port| EndpointPort {
        name,
        port,
        protocol,
        app_protocol,
    };
    EndpointSubset {
        addresses: list(ready),
        not_ready_addresses: list(not_ready),
        ports: (!ports.is_empty()).then(|| ports.into_iter().map(port).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_once_for_each_set_of_ports() {
        let address = |ip: &str| EndpointAddress {
            ip: ip.into(),
            ..Default::default()
        };
        let port = |port| EndpointPort {
            port,
            ..Default::default()
        };
        let subset = |ready: &[&str], not: &[&str], ports: &[i32]| EndpointSubset {
            addresses: Some(ready.iter().map(|ip| address(ip)).collect()),
            not_ready_addresses: Some(not.iter().map(|ip| address(ip)).collect()),
            ports: Some(ports.iter().map(|number| port(*number)).collect()),
        };
        let packed = |subsets: &[EndpointSubset]| {
            let mut packer = Packer::default();
            subsets.iter().for_each(|subset| packer.add_subset(subset));
            let ips = |list: &Option<Vec<EndpointAddress>>| {
                list.iter()
                    .flatten()
                    .map(|a| a.ip.clone())
                    .collect::<Vec<_>>()
                    .join(",")
            };
            let of = |s: &EndpointSubset| {
                (
                    ips(&s.addresses),
                    ips(&s.not_ready_addresses),
                    s.ports.iter().flatten().map(|p| p.port).collect::<Vec<_>>(),
                )
            };
            packer.packed().iter().map(of).collect::<Vec<_>>()
        };
        let text = |ready: &str, not: &str, ports: &[i32]| {
            (ready.to_string(), not.to_string(), ports.to_vec())
        };
        assert_eq!(
            packed(&[
                subset(&["b", "a"], &[], &[80]),
                subset(&["a", "b"], &[], &[81])
            ]),
            [text("a,b", "", &[80, 81])]
        );
        assert_eq!(
            packed(&[subset(&["a"], &[], &[80]), subset(&["b"], &["a"], &[80])]),
            [text("b", "a", &[80])]
        );
        assert_eq!(
            packed(&[subset(&["a"], &[], &[80]), subset(&["b"], &[], &[])]),
            [text("b", "", &[]), text("a", "", &[80])]
        );
    }

    #[test]
    fn ports_are_in_the_order_of_their_hashes() {
        let port = |name: &str, number: i32, protocol: &str, app: Option<&str>| EndpointPort {
            name: Some(name.into()),
            port: number,
            protocol: Some(protocol.into()),
            app_protocol: app.map(Into::into),
        };
        let names = |ports: Vec<EndpointPort>| {
            let mut packer = Packer::default();
            packer.add_subset(&EndpointSubset {
                addresses: Some(vec![EndpointAddress::default()]),
                ports: Some(ports),
                not_ready_addresses: None,
            });
            let mut packed = packer.packed();
            assert_eq!(packed.len(), 1);
            let ports = packed.remove(0).ports.unwrap().into_iter();
            ports.filter_map(|port| port.name).collect::<Vec<_>>()
        };
        let few = vec![
            port("a", 1, "TCP", None),
            port("b", 2, "TCP", None),
            port("c", 3, "TCP", None),
            port("d", 4, "TCP", None),
            port("e", 5, "TCP", None),
            port("f", 5, "SCTP", None),
        ];
        assert_eq!(names(few), ["c", "d", "f", "b", "a", "e"]);
        let usual = vec![
            port("dns", 53, "UDP", None),
            port("http", 80, "TCP", None),
            port("https", 443, "TCP", None),
            port("metrics", 9090, "TCP", Some("h2c")),
            port("ssh", 22, "TCP", None),
        ];
        assert_eq!(names(usual), ["http", "https", "ssh", "dns", "metrics"]);
    }
}
