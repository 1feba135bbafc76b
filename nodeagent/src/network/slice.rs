//! What of an EndpointSlice matters to the network: there are many of them, and most of what the API says of an endpoint is not for it.
//!
//! Invariant: what cannot be read (an address, a protocol) is as if it were not there. Follows `pkg/proxy/endpointslicecache.go` upstream.

use std::{collections::HashSet, net::IpAddr, sync::Arc};

use k8s_openapi::api::discovery::v1::{Endpoint as ApiEndpoint, EndpointPort, EndpointSlice};

use super::{family::IpFamily, protocol::Protocol};

/// A slice of a service's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slice {
    /// That of its addresses; none where these are names.
    pub family: Option<IpFamily>,
    pub ports: Box<[Port]>,
    pub endpoints: Box<[Endpoint]>,
}

/// A port that all endpoints of a slice have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: Box<str>,
    pub protocol: Protocol,
    /// Never 0.
    pub port: u16,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The first of its addresses, which is the one that services lead to.
    pub ip: Option<IpAddr>,
    pub further: Box<[IpAddr]>,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub node: Option<Arc<str>>,
    pub hostname: Option<Box<str>>,
    /// For whom it is meant; most say nothing of that.
    pub hints: Option<Box<Hints>>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    pub zones: Vec<String>,
    pub nodes: Vec<String>,
}

impl Slice {
    /// `names` keeps each node's name once.
    pub fn of(slice: &EndpointSlice, names: &mut HashSet<Arc<str>>) -> Self {
        // names instead of addresses are for nobody here
        let endpoints = slice.endpoints.iter().flatten();
        let endpoints = endpoints.filter(|_| slice.address_type != "FQDN");
        Slice {
            family: IpFamily::parse(&slice.address_type),
            ports: slice.ports.iter().flatten().filter_map(port).collect(),
            endpoints: endpoints.map(|one| endpoint(one, names)).collect(),
        }
    }
}

impl Endpoint {
    /// All that can be read.
    pub fn ips(&self) -> impl Iterator<Item = IpAddr> {
        self.ip.into_iter().chain(self.further.iter().copied())
    }
}

fn port(port: &EndpointPort) -> Option<Port> {
    Some(Port {
        name: port.name.as_deref().unwrap_or_default().into(),
        protocol: Protocol::parse(port.protocol.as_deref())?,
        port: u16::try_from(port.port?).ok().filter(|p| *p != 0)?,
    })
}

fn endpoint(endpoint: &ApiEndpoint, names: &mut HashSet<Arc<str>>) -> Endpoint {
    let conditions = endpoint.conditions.as_ref();
    let hints = endpoint.hints.as_ref().map(|hints| Hints {
        zones: hints
            .for_zones
            .iter()
            .flatten()
            .map(|z| z.name.clone())
            .collect(),
        nodes: hints
            .for_nodes
            .iter()
            .flatten()
            .map(|n| n.name.clone())
            .collect(),
    });
    let mut known = |name: &str| match names.get(name) {
        Some(known) => known.clone(),
        None => {
            let name: Arc<str> = name.into();
            names.insert(name.clone());
            name
        }
    };
    let mut addresses = endpoint.addresses.iter().map(|a| a.parse().ok());
    Endpoint {
        ip: addresses.next().flatten(),
        further: addresses.flatten().collect(),
        ready: conditions.and_then(|c| c.ready).unwrap_or(true),
        serving: conditions.and_then(|c| c.serving).unwrap_or(true),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        node: endpoint.node_name.as_deref().map(&mut known),
        hostname: endpoint
            .hostname
            .as_deref()
            .filter(|h| !h.is_empty())
            .map(Into::into),
        hints: hints.filter(|h| *h != Hints::default()).map(Box::new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_matters_is_kept() {
        let slice = |kind: &str| {
            let slice: EndpointSlice = serde_json::from_value(json!({"metadata": {"name": "s"}, "addressType": kind,
                "ports": [{"name": "a", "port": 80}, {"port": 53, "protocol": "UDP"}, {"name": "odd", "port": 1, "protocol": "XTP"}, {"name": "none"}, {"port": 0}],
                "endpoints": [{"addresses": ["10.0.0.1", "10.0.0.2", "nonsense"], "nodeName": "n", "hostname": ""},
                    {"addresses": ["nonsense"], "nodeName": "n", "hostname": "db-0", "conditions": {"ready": false, "serving": true, "terminating": true},
                        "hints": {"forZones": [{"name": "z"}], "forNodes": [{"name": "n"}]}}]}))
            .unwrap();
            Slice::of(&slice, &mut HashSet::new())
        };
        let read = slice("IPv4");
        let ports: Vec<_> = read.ports.iter().map(|p| (&*p.name, p.port)).collect();
        assert_eq!(ports, [("a", 80), ("", 53)]);
        let [first, second] = &read.endpoints[..] else {
            panic!("{read:?}")
        };
        assert_eq!(first.ips().count(), 2);
        assert!(first.ready && first.serving && !first.terminating);
        assert_eq!((&first.hostname, &first.hints), (&None, &None));
        assert_eq!(second.ips().count(), 0);
        assert!(!second.ready && second.serving && second.terminating);
        assert_eq!(second.hints.as_ref().unwrap().zones, ["z"]);
        assert!(Arc::ptr_eq(
            first.node.as_ref().unwrap(),
            second.node.as_ref().unwrap()
        ));
        let families = ["IPv4", "IPv6", "FQDN"].map(|kind| slice(kind).family);
        assert_eq!(families, [Some(IpFamily::V4), Some(IpFamily::V6), None]);
        assert!(slice("FQDN").endpoints.is_empty());
    }
}
