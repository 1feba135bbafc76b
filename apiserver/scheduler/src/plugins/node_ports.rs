//! Host ports are taken once. Follows `plugins/nodeports/node_ports.go`.

use crate::{
    cache::NodeInfo,
    framework::{Plugin, Rejection},
    pod::PodInfo,
};

pub const PLUGIN: Plugin = Plugin { name: "NodePorts", filter: Some(filter), score: None };

fn filter(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    if pod.ports.is_empty() {
        return None;
    }
    let taken = node.pods.values().flat_map(|other| &other.ports).any(|port| pod.ports.iter().any(|wanted| wanted.conflicts(port)));
    taken.then(|| Rejection::new("node(s) didn't have free ports for the requested pod ports"))
}
