//! The taints that nodes bear because of their conditions.
//!
//! Invariant: pure; only taints of these keys are touched, and `None` means that nothing changes.
//! Follows pkg/controller/nodelifecycle/node_lifecycle_controller.go and pkg/util/taints.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Node, Taint},
    apimachinery::pkg::apis::meta::v1::Time,
};
use skiff_podspec::parts::HasSpec;

use super::health::condition;

pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const EXECUTE: &str = "NoExecute";
const SCHEDULE: &str = "NoSchedule";

/// Condition, its status, and the taint that goes with it.
const OF_CONDITIONS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    (
        "MemoryPressure",
        "True",
        "node.kubernetes.io/memory-pressure",
    ),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    (
        "NetworkUnavailable",
        "True",
        "node.kubernetes.io/network-unavailable",
    ),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// Older labels that follow the present ones.
const LABELS: [(&str, &str); 2] = [
    ("kubernetes.io/os", "beta.kubernetes.io/os"),
    ("kubernetes.io/arch", "beta.kubernetes.io/arch"),
];

/// The node's taints.
pub fn of(node: &Node) -> Vec<Taint> {
    node.spec().taints.clone().unwrap_or_default()
}

/// Whether the node bears the evicting taint of this key.
pub fn has(node: &Node, key: &str) -> bool {
    node.spec()
        .taints
        .iter()
        .flatten()
        .any(|t| t.key == key && t.effect == EXECUTE)
}

fn taint(key: &str, effect: &str, now: &Time) -> Taint {
    Taint {
        key: key.into(),
        effect: effect.into(),
        time_added: Some(now.clone()),
        value: None,
    }
}

/// The taints with those that the node's conditions ask for.
pub fn with_condition_taints(node: &Node, now: Time) -> Option<Vec<Taint>> {
    let mut wanted: Vec<&str> = OF_CONDITIONS
        .iter()
        .filter(|(kind, status, _)| condition(node, kind).is_some_and(|c| c.status == *status))
        .map(|(_, _, key)| *key)
        .collect();
    if node.spec().unschedulable == Some(true) {
        wanted.push(UNSCHEDULABLE);
    }
    let old = of(node);
    let ours = |t: &Taint| {
        t.effect == SCHEDULE
            && (t.key == UNSCHEDULABLE || OF_CONDITIONS.iter().any(|(_, _, key)| t.key == *key))
    };
    let mut new: Vec<Taint> = old
        .iter()
        .filter(|t| !ours(t) || wanted.contains(&t.key.as_str()))
        .cloned()
        .collect();
    for key in wanted {
        if !new.iter().any(|t| t.key == key && t.effect == SCHEDULE) {
            new.push(taint(key, SCHEDULE, &now));
        }
    }
    (new != old).then_some(new)
}

/// The taints without the evicting ones of these keys.
pub fn without(node: &Node, keys: &[&str]) -> Option<Vec<Taint>> {
    let old = of(node);
    let new: Vec<_> = old
        .iter()
        .filter(|t| !(t.effect == EXECUTE && keys.contains(&t.key.as_str())))
        .cloned()
        .collect();
    (new.len() != old.len()).then_some(new)
}

/// The taints with the evicting one that fits an unreachable or a not ready node, in place of its opposite.
pub fn swapped(node: &Node, unreachable: bool, now: Time) -> Option<Vec<Taint>> {
    let (add, remove) = if unreachable {
        (UNREACHABLE, NOT_READY)
    } else {
        (NOT_READY, UNREACHABLE)
    };
    let mut new = without(node, &[remove]).unwrap_or_else(|| of(node));
    if !has(node, add) {
        new.push(taint(add, EXECUTE, &now));
    }
    (new != of(node)).then_some(new)
}

/// The taints with the evicting one that the node's present condition asks for; nothing for a node that is ready again.
pub fn evicting(node: &Node, now: Time) -> Option<Vec<Taint>> {
    match condition(node, "Ready")?.status.as_str() {
        "False" => swapped(node, false, now),
        "Unknown" => swapped(node, true, now),
        _ => None,
    }
}

/// The older labels that the node lacks or has with another value.
pub fn missing_labels(node: &Node) -> BTreeMap<String, String> {
    let labels = node.metadata.labels.as_ref();
    let value = |key: &str| labels.and_then(|l| l.get(key));
    let pairs = LABELS.iter().filter_map(|(primary, secondary)| {
        value(primary)
            .filter(|v| value(secondary) != Some(*v))
            .map(|v| (secondary.to_string(), v.clone()))
    });
    pairs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{NodeCondition, NodeSpec, NodeStatus};

    fn node(ready: &str, taints: &[(&str, &str)]) -> Node {
        let condition = NodeCondition {
            type_: "Ready".into(),
            status: ready.into(),
            ..Default::default()
        };
        let taints = taints
            .iter()
            .map(|(key, effect)| Taint {
                key: key.to_string(),
                effect: effect.to_string(),
                ..Default::default()
            })
            .collect();
        Node {
            spec: Some(NodeSpec {
                taints: Some(taints),
                ..Default::default()
            }),
            status: Some(NodeStatus {
                conditions: Some(vec![condition]),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    fn keys(taints: Option<Vec<Taint>>) -> Option<Vec<String>> {
        taints.map(|all| {
            all.into_iter()
                .map(|t| format!("{}:{}", t.key.rsplit('/').next().unwrap_or(""), t.effect))
                .collect()
        })
    }

    #[test]
    fn condition_taints() {
        let now = || Time(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(keys(with_condition_taints(&node("True", &[]), now())), None);
        assert_eq!(
            keys(with_condition_taints(
                &node("False", &[("own", SCHEDULE)]),
                now()
            )),
            Some(vec!["own:NoSchedule".into(), "not-ready:NoSchedule".into()])
        );
        assert_eq!(
            keys(with_condition_taints(
                &node("Unknown", &[(NOT_READY, SCHEDULE)]),
                now()
            )),
            Some(vec!["unreachable:NoSchedule".into()])
        );
        let mut cordoned = node("True", &[]);
        cordoned.spec.as_mut().unwrap().unschedulable = Some(true);
        assert_eq!(
            keys(with_condition_taints(&cordoned, now())),
            Some(vec!["unschedulable:NoSchedule".into()])
        );
    }

    #[test]
    fn evicting_taints() {
        let now = || Time(jiff::Timestamp::UNIX_EPOCH);
        assert_eq!(keys(evicting(&node("True", &[]), now())), None);
        assert_eq!(
            keys(evicting(&node("Unknown", &[(NOT_READY, EXECUTE)]), now())),
            Some(vec!["unreachable:NoExecute".into()])
        );
        assert_eq!(
            keys(evicting(&node("Unknown", &[(UNREACHABLE, EXECUTE)]), now())),
            None
        );
        assert_eq!(
            keys(without(
                &node("True", &[(UNREACHABLE, EXECUTE), (NOT_READY, SCHEDULE)]),
                &[UNREACHABLE, NOT_READY]
            )),
            Some(vec!["not-ready:NoSchedule".into()])
        );
    }
}
