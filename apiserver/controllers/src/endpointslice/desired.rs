//! Which endpoints a service is to have, by their ports.
//!
//! Invariant: pure; an endpoint stands there once. Follows k8s.io/endpointslice/utils.go and trafficdist/trafficdist.go.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::{
        Endpoint, EndpointConditions, EndpointHints, EndpointPort, EndpointSlice, ForNode, ForZone,
    },
};
use skiff_api::machinery::names::ip::IPV6;
use skiff_podspec::parts::{HasSpec, Meta};
use skiff_podspec::pod::Pod;

use super::{
    ports::in_order,
    zones::{asks_for_hints, zone_of},
};
use crate::{
    informer::Informer,
    key::Key,
    pods,
    service_pods::{find_port, hostname, ips_of, is_endpoint, publishes_unready, reference},
};

/// How many endpoints a slice has at most.
pub const MOST: usize = 100;

/// No list rather than an empty one.
pub fn some(endpoints: Vec<Endpoint>) -> Option<Vec<Endpoint>> {
    (!endpoints.is_empty()).then_some(endpoints)
}

/// What makes an endpoint the same one in two slices.
type Identity = (Vec<String>, Option<String>, Option<String>, Option<String>);

fn identity(endpoint: &Endpoint) -> Identity {
    let target = endpoint.target_ref.as_ref();
    (
        endpoint.addresses.clone(),
        endpoint.hostname.clone(),
        target.and_then(|t| t.namespace.clone()),
        target.and_then(|t| t.name.clone()),
    )
}

/// Endpoints without order or repetition.
#[derive(Default)]
pub struct Endpoints {
    order: Vec<Identity>,
    by_identity: HashMap<Identity, Endpoint>,
}

impl Endpoints {
    /// Adds one.
    pub fn insert(&mut self, endpoint: Endpoint) {
        let identity = identity(&endpoint);
        if self
            .by_identity
            .insert(identity.clone(), endpoint)
            .is_none()
        {
            self.order.push(identity);
        }
    }

    /// Takes out the one that is the same.
    pub fn take(&mut self, like: &Endpoint) -> Option<Endpoint> {
        self.by_identity.remove(&identity(like))
    }

    /// Takes over the hints of one that is the same and stays as it is.
    pub fn keep_hints(&mut self, of: &Endpoint) {
        if let Some(endpoint) = self.by_identity.get_mut(&identity(of)) {
            endpoint.hints.clone_from(&of.hints);
        }
    }

    pub fn len(&self) -> usize {
        self.by_identity.len()
    }

    /// Those that stay where they are have been taken: slices are filled up with the others, in their order.
    pub fn all_placed(&mut self) {
        let known = &self.by_identity;
        self.order.retain(|identity| known.contains_key(identity));
        self.order.reverse();
    }

    /// Fills a slice up.
    pub fn fill(&mut self, slice: &mut EndpointSlice) {
        let mut endpoints = slice.endpoints.take().unwrap_or_default();
        while endpoints.len() < MOST
            && let Some(identity) = self.order.pop()
        {
            endpoints.extend(self.by_identity.remove(&identity));
        }
        slice.endpoints = some(endpoints);
    }
}

/// Ports in an order that does not depend on the service's.
pub type PortKey = Vec<(Option<String>, Option<i32>, Option<String>, Option<String>)>;

/// The ports of a slice in that order.
pub fn port_key(ports: &[EndpointPort]) -> PortKey {
    let mut key: PortKey = ports
        .iter()
        .map(|p| {
            (
                p.name.clone().or_else(|| Some(String::new())),
                p.port,
                p.protocol.clone(),
                p.app_protocol.clone(),
            )
        })
        .collect();
    key.sort();
    key
}

pub type Desired = BTreeMap<PortKey, (Vec<EndpointPort>, Endpoints)>;

/// The endpoints that a service is to have of a family, and what kept a pod out of them.
pub fn desired(
    service: &Service,
    selected: &[Arc<Pod>],
    nodes: &Informer<Node>,
    family: &str,
) -> (Desired, Option<String>) {
    let mut desired = Desired::new();
    let mut missing = None;
    let mut zones = HashMap::<&str, Option<Option<String>>>::new();
    let known_zone = |node: &str| {
        let node = nodes.get(&Key::cluster(node))?;
        Some(zone_of(&node).map(str::to_owned))
    };
    for pod in selected.iter().filter(|pod| is_endpoint(pod, true)) {
        let ports = ports_of(service, pod);
        let (_, endpoints) = desired
            .entry(port_key(&ports))
            .or_insert_with(|| (ports, Endpoints::default()));
        let node = pods::node_name(pod);
        let zone = zones.entry(node).or_insert_with(|| known_zone(node));
        if zone.is_none() && !publishes_unready(service) {
            let (pod, namespace) = (pod.metadata.name(), service.metadata.namespace());
            missing = Some(format!(
                "skipping Pod {pod} for Service {namespace}/{}: Node {node} Not Found",
                service.metadata.name()
            ));
            continue;
        }
        let endpoint = endpoint_of(service, pod, zone.clone().flatten(), family);
        if !endpoint.addresses.is_empty() {
            endpoints.insert(endpoint);
        }
    }
    (desired, missing)
}

fn ports_of(service: &Service, pod: &Pod) -> Vec<EndpointPort> {
    let port = |p: &k8s_openapi::api::core::v1::ServicePort| {
        Some(EndpointPort {
            name: Some(p.name.clone().unwrap_or_default()),
            port: Some(find_port(pod, p)?),
            protocol: Some(p.protocol.clone().unwrap_or_else(|| "TCP".into())),
            app_protocol: p.app_protocol.clone(),
        })
    };
    let ports = service.spec().ports.iter().flatten();
    in_order(ports.filter_map(port).collect())
}

fn endpoint_of(service: &Service, pod: &Pod, zone: Option<String>, family: &str) -> Endpoint {
    let (serving, terminating) = (pods::is_ready(pod), pods::is_deleting(pod));
    let ready = publishes_unready(service) || (serving && !terminating);
    let node_name = pod.spec().node_name.clone();
    let hints = hints(service, zone.as_deref(), node_name.as_deref());
    Endpoint {
        addresses: ips_of(pod, family == IPV6).collect(),
        conditions: Some(EndpointConditions {
            ready: Some(ready),
            serving: Some(serving),
            terminating: Some(terminating),
        }),
        target_ref: Some(reference(pod)),
        node_name,
        zone,
        hints: hints.filter(|_| ready),
        hostname: hostname(pod, service),
        ..Default::default()
    }
}

/// For whom an endpoint is meant, by the service's `trafficDistribution`. The annotation for hints by proportion goes before that.
fn hints(service: &Service, zone: Option<&str>, node: Option<&str>) -> Option<EndpointHints> {
    if asks_for_hints(service) {
        return None;
    }
    let same_node = match service.spec().traffic_distribution.as_deref()? {
        "PreferClose" | "PreferSameZone" => false,
        "PreferSameNode" => true,
        _ => return None,
    };
    let for_zones = zone.map(|name| vec![ForZone { name: name.into() }]);
    let for_nodes = node.map(|name| vec![ForNode { name: name.into() }]);
    let for_nodes = for_nodes.filter(|_| same_node);
    (for_zones.is_some() || for_nodes.is_some()).then_some(EndpointHints {
        for_nodes,
        for_zones,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_say_for_whom_an_endpoint_is() {
        let service = |distribution: Option<&str>, mode: Option<(&str, &str)>| {
            let annotations = mode.map(|(key, value)| [(key.into(), value.into())].into());
            let mut service = Service::default();
            service.metadata.annotations = annotations;
            let spec = service.spec.get_or_insert_default();
            spec.traffic_distribution = distribution.map(Into::into);
            service
        };
        let shown = |service: &Service, zone, node| {
            let Some(hints) = hints(service, zone, node) else {
                return "none".to_owned();
            };
            let zones: Vec<_> = hints
                .for_zones
                .into_iter()
                .flatten()
                .map(|z| z.name)
                .collect();
            let nodes: Vec<_> = hints
                .for_nodes
                .into_iter()
                .flatten()
                .map(|n| n.name)
                .collect();
            format!("{}/{}", zones.join(","), nodes.join(","))
        };
        let auto = ("service.kubernetes.io/topology-mode", "Auto");
        let disabled = ("service.kubernetes.io/topology-aware-hints", "Disabled");
        let cases = [
            (service(None, None), "none", "none"),
            (service(Some("PreferClose"), None), "z/", "none"),
            (service(Some("PreferSameZone"), None), "z/", "none"),
            (service(Some("PreferSameNode"), None), "z/n", "/n"),
            (service(Some("PreferSameNode"), Some(auto)), "none", "none"),
            (
                service(Some("PreferSameZone"), Some(disabled)),
                "z/",
                "none",
            ),
            (service(Some("example.com/else"), None), "none", "none"),
        ];
        for (service, with_zone, without) in cases {
            assert_eq!(
                shown(&service, Some("z"), Some("n")),
                with_zone,
                "{service:?}"
            );
            assert_eq!(shown(&service, None, Some("n")), without, "{service:?}");
        }
    }
}
