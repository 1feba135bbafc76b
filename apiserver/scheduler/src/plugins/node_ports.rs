//! Host ports are taken once. Follows `plugins/nodeports/node_ports.go`.

use crate::{
    framework::{ClusterEvent, First, Plugin, Rejection, View},
    node::NodeInfo,
    plugins::State,
    pod::PodInfo,
};

pub struct NodePorts;

fn conflicts(pod: &PodInfo, other: &PodInfo) -> bool {
    other
        .ports
        .iter()
        .any(|port| pod.ports.iter().any(|wanted| wanted.conflicts(port)))
}

impl Plugin<State> for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn pre_filter(&self, _: View, pod: &PodInfo, _: &mut State) -> First {
        if pod.ports.is_empty() {
            First::Skip
        } else {
            First::Any
        }
    }

    fn filter(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        Rejection::unless(
            !node.pods.values().any(|other| conflicts(pod, other)),
            "node(s) didn't have free ports for the requested pod ports",
        )
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::PodDeleted(other) => conflicts(pod, other),
            ClusterEvent::NodeAdded(_) => true,
            _ => false,
        }
    }
}
