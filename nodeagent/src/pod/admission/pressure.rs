//! A node that is short of memory, disk or process ids takes no more pods.
//!
//! Follows `Admit` in `pkg/kubelet/eviction/eviction_manager.go`.

use k8s_openapi::api::core::v1::{Node, Pod, Taint};
use skiff_podspec::{
    qos::{Class, class},
    tolerations::{any_tolerates, of_pod},
};

use super::{Rejection, is_critical};
use crate::pod::names::spec;

const MEMORY: &str = "MemoryPressure";
const PRESSURES: [&str; 3] = [MEMORY, "DiskPressure", "PIDPressure"];

pub fn admit(pod: &Pod, node: &Node) -> Result<(), Rejection> {
    let conditions = node
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten());
    let present: Vec<&str> = conditions
        .filter(|condition| condition.status == "True")
        .map(|condition| condition.type_.as_str())
        .filter(|type_| PRESSURES.contains(type_))
        .collect();
    if present.is_empty() || is_critical(pod) {
        return Ok(());
    }
    if present == [MEMORY] {
        let taint = Taint {
            key: "node.kubernetes.io/memory-pressure".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Default::default()
        };
        if class(pod)? != Class::BestEffort || any_tolerates(of_pod(spec(pod)), &taint) {
            return Ok(());
        }
    }
    Err(Rejection::new(
        "Evicted",
        format!("The node had condition: [{}]. ", present.join(" ")),
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    #[test]
    fn pressures() {
        let node = |types: &[&str]| {
            let conditions: Vec<_> = types
                .iter()
                .map(|type_| json!({"type": type_, "status": "True"}))
                .collect();
            from_value::<Node>(json!({"status": {"conditions": conditions}})).unwrap()
        };
        let pod = |more: Value| {
            let mut spec = json!({"containers": [{"name": "c"}]});
            spec.as_object_mut()
                .unwrap()
                .extend(more.as_object().unwrap().clone());
            from_value::<Pod>(json!({"spec": spec})).unwrap()
        };
        let burstable =
            json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]});
        let tolerant = json!({"tolerations": [{"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}]});
        let table: [(&[&str], Value, &str); 6] = [
            (&["Ready"], json!({}), ""),
            (
                &[MEMORY],
                json!({}),
                "The node had condition: [MemoryPressure]. ",
            ),
            (&[MEMORY], burstable.clone(), ""),
            (&[MEMORY], tolerant, ""),
            (
                &[MEMORY, "DiskPressure"],
                burstable,
                "The node had condition: [MemoryPressure DiskPressure]. ",
            ),
            (&["DiskPressure"], json!({"priority": 2_000_000_000}), ""),
        ];
        for (types, more, expected) in table {
            let message = admit(&pod(more.clone()), &node(types))
                .map_or_else(|refused| refused.message, |()| String::new());
            assert_eq!(message, expected, "{types:?} {more}");
        }
    }
}
