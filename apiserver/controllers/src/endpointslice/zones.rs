//! Zones of nodes, and which services ask for hints of these by proportion.
//!
//! Invariant: pure. Follows k8s.io/endpointslice/topologycache.

use k8s_openapi::api::core::v1::{Node, Service};

/// The label that names a node's zone.
const ZONE: &str = "topology.kubernetes.io/zone";
/// The annotations that ask for it, the older one first.
const MODES: [&str; 2] = [
    "service.kubernetes.io/topology-aware-hints",
    "service.kubernetes.io/topology-mode",
];

/// Whether the service asks for hints by proportion.
pub fn asks_for_hints(service: &Service) -> bool {
    let annotations = service.metadata.annotations.as_ref();
    let mode = annotations.and_then(|a| MODES.iter().find_map(|key| a.get(*key)));
    mode.is_some_and(|mode| mode == "Auto" || mode == "auto")
}

/// A node's zone, if it has one.
pub fn zone_of(node: &Node) -> Option<&str> {
    let zone = node.metadata.labels.as_ref()?.get(ZONE)?;
    (!zone.is_empty()).then_some(zone)
}
