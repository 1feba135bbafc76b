//! Taints keep pods off that do not tolerate them; those that would rather not have them count. Follows `plugins/tainttoleration`.

use k8s_openapi::api::core::v1::{Node, Taint};
use skiff_podspec::tolerations::{KEEPS_OFF, any_tolerates, taints, tolerates_all};

use crate::{
    framework::{self, ClusterEvent, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
};

pub struct TaintToleration;

/// Whether any of a pod's tolerations bears a taint.
pub fn tolerated(pod: &PodInfo, taint: &Taint) -> bool {
    any_tolerates(pod.tolerations(), taint)
}

/// Whether a pod bears all of a node's taints that keep pods off.
pub fn bears(pod: &PodInfo, node: &Node) -> bool {
    tolerates_all(pod.tolerations(), taints(node), &KEEPS_OFF)
}

impl Plugin<State> for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        Rejection::unresolvable_unless(bears(pod, &node.node), "node(s) had untolerated taint(s)")
    }

    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> i64 {
        taints(&node.node)
            .iter()
            .filter(|taint| taint.effect == "PreferNoSchedule" && !tolerated(pod, taint))
            .count() as i64
    }

    fn normalize(&self, _: &State, scores: &mut [i64]) {
        framework::normalize(scores, true);
    }

    fn hopes_for_taints(&self) -> bool {
        false
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => bears(pod, node),
            ClusterEvent::NodeUpdated { old, new } => !bears(pod, old) && bears(pod, new),
            ClusterEvent::Own { old, new } => new.has_other_tolerations(old),
            _ => false,
        }
    }
}
