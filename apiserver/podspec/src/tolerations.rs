//! Which taints a pod tolerates.
//!
//! The operators `Lt` and `Gt` tolerate nothing: the gate `TaintTolerationComparisonOperators` is off in v1.36. The server takes in none that was
//! not there before.
//! Follows `k8s.io/component-helpers/scheduling/corev1/helpers.go` and `k8s.io/api/core/v1/toleration.go`.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};

use crate::pod::AnySpec;

/// The effects that keep pods off a node that do not run there yet.
pub const KEEPS_OFF: [&str; 2] = ["NoSchedule", "NoExecute"];
/// The effect that ends pods that run.
pub const ENDS: [&str; 1] = ["NoExecute"];

/// Whether one toleration covers one taint.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let effect = toleration.effect.as_deref().unwrap_or("");
    let key = toleration.key.as_deref().unwrap_or("");
    if !effect.is_empty() && effect != taint.effect || !key.is_empty() && key != taint.key {
        return false;
    }
    match toleration.operator.as_deref().unwrap_or("") {
        "Exists" => true,
        "" | "Equal" => {
            toleration.value.as_deref().unwrap_or("") == taint.value.as_deref().unwrap_or("")
        }
        _ => false,
    }
}

/// Whether one of them covers the taint.
pub fn any_tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations
        .iter()
        .any(|toleration| tolerates(toleration, taint))
}

/// Whether all taints with one of these effects are tolerated.
pub fn tolerates_all(tolerations: &[Toleration], taints: &[Taint], effects: &[&str]) -> bool {
    taints
        .iter()
        .filter(|taint| effects.contains(&taint.effect.as_str()))
        .all(|taint| any_tolerates(tolerations, taint))
}

/// A pod's tolerations.
pub fn of_pod(spec: &impl AnySpec) -> &[Toleration] {
    spec.tolerations().as_deref().unwrap_or_default()
}

/// A node's taints.
pub fn taints(node: &Node) -> &[Taint] {
    node.spec
        .as_ref()
        .and_then(|spec| spec.taints.as_deref())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn toleration(key: &str, operator: &str, value: &str, effect: &str) -> Toleration {
        let text = |s: &str| Some(s.to_string()).filter(|s| !s.is_empty());
        Toleration {
            key: text(key),
            operator: text(operator),
            value: text(value),
            effect: text(effect),
            ..Toleration::default()
        }
    }

    fn taint(key: &str, value: &str, effect: &str) -> Taint {
        Taint {
            key: key.into(),
            value: Some(value.into()),
            effect: effect.into(),
            ..Taint::default()
        }
    }

    #[test]
    fn one_taint() {
        for (key, operator, value, effect, wanted) in [
            ("k", "Equal", "5", "NoSchedule", true),
            ("k", "Equal", "6", "NoSchedule", false),
            ("k", "", "5", "", true),
            ("", "Equal", "5", "", true),
            ("k", "Exists", "", "", true),
            ("", "Exists", "", "", true),
            ("k", "Exists", "", "NoExecute", false),
            ("j", "Exists", "", "", false),
            ("k", "Gt", "4", "", false),
            ("k", "Lt", "6", "", false),
            ("k", "In", "5", "", false),
        ] {
            assert_eq!(
                tolerates(
                    &toleration(key, operator, value, effect),
                    &taint("k", "5", "NoSchedule")
                ),
                wanted,
                "{key} {operator} {value} {effect}"
            );
        }
        let plain = Taint {
            key: "k".into(),
            effect: "NoSchedule".into(),
            ..Taint::default()
        };
        assert!(
            tolerates(&toleration("k", "Equal", "", ""), &plain),
            "no value is the empty one"
        );
    }

    #[test]
    fn those_with_some_effects() {
        let taints = [
            taint("a", "", "NoSchedule"),
            taint("b", "", "PreferNoSchedule"),
            taint("c", "", "NoExecute"),
        ];
        for (keys, keeps_off, ends) in [
            (vec![], false, false),
            (vec!["a"], false, false),
            (vec!["c"], false, true),
            (vec!["a", "c"], true, true),
        ] {
            let all: Vec<_> = keys
                .iter()
                .map(|key| toleration(key, "Exists", "", ""))
                .collect();
            assert_eq!(
                (
                    tolerates_all(&all, &taints, &KEEPS_OFF),
                    tolerates_all(&all, &taints, &ENDS)
                ),
                (keeps_off, ends),
                "{keys:?}"
            );
        }
    }
}
