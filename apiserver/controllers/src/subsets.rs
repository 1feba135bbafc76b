//! Subsets of endpoints in their canonical form: each address once for each set of ports.
//!
//! Invariant: an address that is ready for a port in one place and not ready in another is not ready. Follows pkg/api/v1/endpoints/util.go
//! (RepackSubsets), but for the order, which there is that of hashes.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{EndpointAddress, EndpointPort, EndpointSubset};

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

fn subset(addresses: Addresses, ports: Vec<Port>) -> EndpointSubset {
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
}
