//! Taints keep pods off that do not tolerate them; those that would rather not have them count. Follows `plugins/tainttoleration` and
//! `k8s.io/api/core/v1/toleration.go`. (The operators `Lt` and `Gt` are behind a gate that is off; the server lets none in.)

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

use crate::{
    framework::{self, ClusterEvent, Plugin, Rejection, State, View},
    node::NodeInfo,
    pod::PodInfo,
};

pub struct TaintToleration;

/// Whether a toleration bears a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or("");
    let key = toleration.key.as_deref().unwrap_or("");
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("") {
        "Exists" => true,
        "" | "Equal" => toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or(""),
        _ => false,
    }
}

/// Whether any of a pod's tolerations bears a taint.
pub fn tolerated(pod: &PodInfo, taint: &Taint) -> bool {
    pod.tolerations().any(|toleration| tolerates(toleration, taint))
}

/// Whether a pod bears all of a node's taints that keep pods off.
pub fn bears(pod: &PodInfo, node: &Node) -> bool {
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_ref()).into_iter().flatten();
    taints.into_iter().all(|taint| !matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") || tolerated(pod, taint))
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn filter(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        match bears(pod, &node.node) {
            true => Ok(()),
            false => Err(Rejection::unresolvable("node(s) had untolerated taint(s)")),
        }
    }

    fn weight(&self) -> i64 {
        3
    }

    fn score(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> i64 {
        node.taints().filter(|taint| taint.effect == "PreferNoSchedule" && !tolerated(pod, taint)).count() as i64
    }

    fn normalize(&self, _: &State, scores: &mut [i64]) {
        framework::normalize(scores, true);
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => bears(pod, node),
            ClusterEvent::NodeUpdated { old, new } => !bears(pod, old) && bears(pod, new),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let taint = Taint { key: "k".into(), value: Some("v".into()), effect: "NoSchedule".into(), ..Taint::default() };
        for (key, operator, value, effect, wanted) in [
            ("k", "Equal", "v", "NoSchedule", true),
            ("k", "Equal", "w", "NoSchedule", false),
            ("k", "", "v", "", true),
            ("", "Equal", "v", "", true),
            ("k", "Exists", "", "", true),
            ("", "Exists", "", "", true),
            ("k", "Exists", "", "NoExecute", false),
            ("j", "Exists", "", "", false),
            ("k", "Gt", "v", "", false),
        ] {
            let text = |s: &str| Some(s.to_string()).filter(|s| !s.is_empty());
            let toleration = Toleration { key: text(key), operator: text(operator), value: text(value), effect: text(effect), ..Toleration::default() };
            assert_eq!(tolerates(&toleration, &taint), wanted, "{key} {operator} {value} {effect}");
        }
    }
}
