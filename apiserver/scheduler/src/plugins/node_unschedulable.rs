//! Cordoned nodes take only pods that tolerate it. Follows `plugins/nodeunschedulable/node_unschedulable.go`.

use k8s_openapi::api::core::v1::{Node, Taint};
use skiff_podspec::parts::HasSpec;

use super::taint_toleration::tolerated;
use crate::{
    framework::{ClusterEvent, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
};

pub struct NodeUnschedulable;

fn is_cordoned(node: &Node) -> bool {
    node.spec().unschedulable == Some(true)
}

fn bears_cordon(pod: &PodInfo) -> bool {
    let taint = Taint {
        key: "node.kubernetes.io/unschedulable".into(),
        effect: "NoSchedule".into(),
        ..Taint::default()
    };
    tolerated(pod, &taint)
}

impl Plugin<State> for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn filter(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        Rejection::unresolvable_unless(
            !is_cordoned(&node.node) || bears_cordon(pod),
            "node(s) were unschedulable",
        )
    }

    fn hopes_for_taints(&self) -> bool {
        false
    }

    fn hopes(&self, _: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => !is_cordoned(node),
            ClusterEvent::NodeUpdated { old, new } => is_cordoned(old) && !is_cordoned(new),
            ClusterEvent::Own { old, new } => new.has_other_tolerations(old) && bears_cordon(new),
            _ => false,
        }
    }
}
