//! What the API server sets and keeps of pods.
//!
//! Follows `pkg/registry/core/pod/strategy.go` and `pkg/apis/core/v1/helper/qos`.

use serde_json::{Value, json};

use crate::{
    kinds::{Selectable, Strategy},
    machinery::{meta, quantity::Quantity},
};

pub const STRATEGY: Strategy = Strategy {
    defaults: super::defaults::pod,
    prepare_for_create,
    prepare_for_update,
    prepare_for_status_update,
    status_reset: &["spec", "metadata.deletionTimestamp", "metadata.ownerReferences"],
    has_status: true,
    keeps_status_on_create: true,
    has_generation: true,
    default_grace: Some(|pod| pod["spec"]["terminationGracePeriodSeconds"].as_i64().unwrap_or(30)),
    skips_grace: |pod| pod["spec"]["nodeName"].as_str().unwrap_or("").is_empty() || matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed")),
    returns_deleted: true,
    ..Strategy::DEFAULT
};

pub const SELECTABLE: &[Selectable] = &[
    Selectable { path: "spec.nodeName", value: |p| text(p, &["spec", "nodeName"]) },
    Selectable { path: "spec.restartPolicy", value: |p| text(p, &["spec", "restartPolicy"]) },
    Selectable { path: "spec.schedulerName", value: |p| text(p, &["spec", "schedulerName"]) },
    Selectable { path: "spec.serviceAccountName", value: |p| text(p, &["spec", "serviceAccountName"]) },
    Selectable { path: "spec.hostNetwork", value: |p| (p["spec"]["hostNetwork"] == true).to_string() },
    Selectable { path: "status.phase", value: |p| text(p, &["status", "phase"]) },
    Selectable { path: "status.podIP", value: |p| text(p, &["status", "podIP"]) },
    Selectable { path: "status.nominatedNodeName", value: |p| text(p, &["status", "nominatedNodeName"]) },
];

fn text(value: &Value, path: &[&str]) -> String {
    meta::text_at(value, path).unwrap_or("").to_string()
}

fn prepare_for_create(pod: &mut Value) {
    pod["status"] = json!({"phase": "Pending", "qosClass": qos(pod)});
    if pod["spec"]["schedulingGates"].as_array().is_some_and(|gates| !gates.is_empty()) {
        pod["status"]["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated",
            "message": "Scheduling is blocked due to non-empty scheduling gates", "lastProbeTime": null, "lastTransitionTime": null}]);
    }
}

fn prepare_for_update(new: &mut Value, old: &Value) {
    new["status"] = old["status"].clone();
}

fn prepare_for_status_update(new: &mut Value, old: &Value) {
    if let Some(owners) = old["metadata"].get("ownerReferences") {
        new["metadata"]["ownerReferences"] = owners.clone();
    }
    if new["status"]["qosClass"].as_str().unwrap_or("").is_empty() {
        new["status"]["qosClass"] = qos(new).into();
    }
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos(pod: &Value) -> &'static str {
    let containers = ["initContainers", "containers"].iter().flat_map(|list| pod["spec"][*list].as_array().into_iter().flatten());
    let (mut any, mut guaranteed) = (false, true);
    for container in containers {
        let amount = |list: &str, name: &str| {
            container["resources"][list][name].as_str().and_then(|text| text.parse::<Quantity>().ok()).filter(|quantity| !quantity.is_zero())
        };
        for name in ["cpu", "memory"] {
            let (limit, request) = (amount("limits", name), amount("requests", name));
            any |= limit.is_some() || request.is_some();
            guaranteed &= limit.is_some() && (request.is_none() || request == limit);
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let pod = |resources: Value| json!({"spec": {"containers": [{"resources": resources}]}});
        for (resources, wanted) in [
            (json!({}), "BestEffort"),
            (json!({"requests": {"cpu": "1"}}), "Burstable"),
            (json!({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1", "memory": "1Gi"}}), "Guaranteed"),
            (json!({"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}), "Burstable"),
        ] {
            assert_eq!(qos(&pod(resources)), wanted);
        }
    }
}
