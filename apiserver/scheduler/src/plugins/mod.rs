//! The plugins, ONE file or folder each, and the table of them.
//!
//! Invariant: upstream's order, which decides whose reason is told. Follows `apis/config/v1/default_plugins.go`.

pub mod balanced_allocation;
pub mod dynamic_resources;
pub mod image_locality;
pub mod inter_pod_affinity;
pub mod node_affinity;
pub mod node_declared_features;
pub mod node_name;
pub mod node_ports;
pub mod node_resources_fit;
pub mod node_unschedulable;
pub mod node_volume_limits;
pub mod pod_topology_spread;
pub mod taint_toleration;
pub mod volume_binding;
pub mod volume_restrictions;
pub mod volume_zone;

use crate::framework::{self, Plugins};

/// One plugin.
pub type Plugin = dyn framework::Plugin<State>;

/// What plugins found out about a pod, for one attempt. Parts are each one plugin's own.
#[derive(Clone, Default)]
pub struct State {
    /// Those that have nothing to say about the pod.
    pub skipped: Plugins,
    /// Those that compare no nodes for it.
    pub unscored: Plugins,
    pub restrictions: volume_restrictions::State,
    /// The volumes that the pod is going to have attached.
    pub attached: node_volume_limits::Attached,
    pub claims: volume_binding::Claims,
    pub zones: volume_zone::State,
    pub spread: pod_topology_spread::State,
    pub pods: inter_pod_affinity::State,
}

/// All plugins that filter or score, in upstream's order.
pub const PLUGINS: &[&Plugin] = &[
    &node_unschedulable::NodeUnschedulable,
    &node_name::NodeName,
    &taint_toleration::TaintToleration,
    &node_affinity::NodeAffinity,
    &node_ports::NodePorts,
    &node_resources_fit::NodeResourcesFit,
    &volume_restrictions::VolumeRestrictions,
    &node_volume_limits::NodeVolumeLimits,
    &volume_binding::VolumeBinding,
    &volume_zone::VolumeZone,
    &pod_topology_spread::PodTopologySpread,
    &inter_pod_affinity::InterPodAffinity,
    &dynamic_resources::DynamicResources,
    &balanced_allocation::NodeResourcesBalancedAllocation,
    &image_locality::ImageLocality,
    &node_declared_features::NodeDeclaredFeatures,
];

#[cfg(test)]
pub mod tests;
