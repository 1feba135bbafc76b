//! Cordoned nodes take only pods that tolerate it. Follows `plugins/nodeunschedulable/node_unschedulable.go`.

use k8s_openapi::api::core::v1::Taint;

use super::taint_toleration::tolerated;
use crate::{
    cache::NodeInfo,
    framework::{Plugin, Rejection},
    pod::PodInfo,
};

pub const PLUGIN: Plugin = Plugin { name: "NodeUnschedulable", filter: Some(filter), score: None };

fn filter(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    if node.node.spec.as_ref().and_then(|s| s.unschedulable) != Some(true) {
        return None;
    }
    let taint = Taint { key: "node.kubernetes.io/unschedulable".into(), effect: "NoSchedule".into(), ..Taint::default() };
    (!tolerated(pod, &taint)).then(|| Rejection::unresolvable("node(s) were unschedulable"))
}
