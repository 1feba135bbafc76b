//! Taints keep pods off that do not tolerate them; those that would rather not have them count. Follows `plugins/tainttoleration`.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::{
    cache::NodeInfo,
    framework::{Normalize, Plugin, Rejection, Score},
    pod::PodInfo,
};

pub const PLUGIN: Plugin =
    Plugin { name: "TaintToleration", filter: Some(filter), score: Some(Score { weight: 3, score: intolerable, normalize: Normalize::Reverse }) };

/// Whether a toleration bears a taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or("");
    let key = toleration.key.as_deref().unwrap_or("");
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("Equal") {
        "Exists" => true,
        "" | "Equal" => !key.is_empty() && toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or(""),
        _ => false,
    }
}

/// Whether any of a pod's tolerations bears a taint.
pub fn tolerated(pod: &PodInfo, taint: &Taint) -> bool {
    pod.pod.spec.as_ref().and_then(|s| s.tolerations.as_ref()).into_iter().flatten().any(|toleration| tolerates(toleration, taint))
}

fn taints(node: &NodeInfo) -> impl Iterator<Item = &Taint> {
    node.node.spec.as_ref().and_then(|s| s.taints.as_ref()).into_iter().flatten()
}

fn filter(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    let untolerated = taints(node).any(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute") && !tolerated(pod, taint));
    untolerated.then(|| Rejection::unresolvable("node(s) had untolerated taint(s)"))
}

fn intolerable(pod: &PodInfo, node: &NodeInfo) -> i64 {
    taints(node).filter(|taint| taint.effect == "PreferNoSchedule" && !tolerated(pod, taint)).count() as i64
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
            ("k", "Exists", "", "", true),
            ("", "Exists", "", "", true),
            ("k", "Exists", "", "NoExecute", false),
            ("j", "Exists", "", "", false),
        ] {
            let text = |s: &str| Some(s.to_string()).filter(|s| !s.is_empty());
            let toleration = Toleration { key: text(key), operator: text(operator), value: text(value), effect: text(effect), ..Toleration::default() };
            assert_eq!(tolerates(&toleration, &taint), wanted, "{key} {operator} {value} {effect}");
        }
    }
}
