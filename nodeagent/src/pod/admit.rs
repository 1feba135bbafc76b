//! Whether the node can take a pod that was bound to it.
//!
//! Invariant: pure.
//! Follows `pkg/kubelet/lifecycle/predicate.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;

use super::{
    names::{is_terminal_phase, phase, spec},
    resources::{List, pod_requests, quantity},
};

/// Why a pod is turned away: the reason and the message of its status.
pub type Rejection = (String, String);

/// Checks `pod` against what the node has left beside `others`.
pub fn admit(pod: &Pod, others: &[std::sync::Arc<Pod>], allocatable: &List, labels: &BTreeMap<String, String>) -> Result<(), Rejection> {
    if spec(pod).os.as_ref().is_some_and(|os| os.name != "linux") {
        return Err(("PodOSNotSupported".to_owned(), "Failed to admit pod as the OS field doesn't match node OS".to_owned()));
    }
    let active = || others.iter().filter(|other| !is_terminal_phase(phase(other)));
    let room = |name: &str| allocatable.get(name).and_then(quantity);
    if let Some(most) = room("pods").map(|most| most.value()) {
        let used = i64::try_from(active().count()).unwrap_or(i64::MAX);
        if used + 1 > most {
            return Err(out_of("pods", 1, used, most));
        }
    }
    for (name, wanted) in pod_requests(pod) {
        let Some(most) = room(&name) else {
            if wanted.is_zero() || name == "ephemeral-storage" {
                continue;
            }
            return Err(out_of(&name, wanted.value(), 0, 0));
        };
        let count = |value: &skiff_api::machinery::quantity::Quantity| if name == "cpu" { value.milli_value() } else { value.value() };
        let used: i64 = active().filter_map(|other| pod_requests(other).get(&name).map(count)).sum();
        if count(&wanted) > 0 && used + count(&wanted) > count(&most) {
            return Err(out_of(&name, count(&wanted), used, count(&most)));
        }
    }
    let selected = spec(pod).node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    if !selected {
        return Err((
            "NodeAffinity".to_owned(),
            "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector".to_owned(),
        ));
    }
    Ok(())
}

fn out_of(name: &str, requested: i64, used: i64, capacity: i64) -> Rejection {
    let message = format!("Pod was rejected: Node didn't have enough resource: {name}, requested: {requested}, used: {used}, capacity: {capacity}");
    (format!("OutOf{name}"), message)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{from_value, json};

    use super::*;

    fn pod(cpu: &str, phase: &str) -> Pod {
        from_value(json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]}, "status": {"phase": phase}})).unwrap()
    }

    #[test]
    fn room() {
        let allocatable: List = from_value(json!({"cpu": "1", "pods": "2"})).unwrap();
        let admit = |pod: &Pod, others: &[Pod]| super::admit(pod, &others.iter().cloned().map(Arc::new).collect::<Vec<_>>(), &allocatable, &BTreeMap::new());
        assert!(admit(&pod("1", "Pending"), &[]).is_ok());
        assert!(admit(&pod("500m", "Pending"), &[pod("500m", "Running")]).is_ok());
        let (reason, message) = admit(&pod("600m", "Pending"), &[pod("500m", "Running")]).unwrap_err();
        assert_eq!(reason, "OutOfcpu");
        assert_eq!(message, "Pod was rejected: Node didn't have enough resource: cpu, requested: 600, used: 500, capacity: 1000");
        assert!(admit(&pod("600m", "Pending"), &[pod("500m", "Succeeded")]).is_ok());
        assert_eq!(admit(&pod("0", "Pending"), &[pod("0", "Running"), pod("0", "Running")]).unwrap_err().0, "OutOfpods");
    }
}
