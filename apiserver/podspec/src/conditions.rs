//! How a pod stands: its phase, whether it is ready and since when, whether it has ended or is going.
//!
//! Invariant: a pod counts as active until it has ended or is being deleted. Follows `pkg/api/v1/pod/util.go` and
//! `pkg/controller/controller_utils.go`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{PodCondition, PodStatus};
use serde_json::{Value, json};

use crate::pod::AnyPod;

/// The pod's phase; `Pending` when none is written.
pub fn phase(pod: &impl AnyPod) -> &str {
    pod.its_status()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

/// Whether a pod in this phase has ended, well or badly.
pub fn is_terminal(phase: &str) -> bool {
    matches!(phase, "Succeeded" | "Failed")
}

/// Whether the pod has ended, well or badly.
pub fn is_finished(pod: &impl AnyPod) -> bool {
    is_terminal(phase(pod))
}

/// Whether the pod is being deleted.
pub fn is_deleting(pod: &impl AnyPod) -> bool {
    pod.its_metadata().deletion_timestamp.is_some()
}

/// Whether the pod has neither ended nor is being deleted.
pub fn is_active(pod: &impl AnyPod) -> bool {
    !is_finished(pod) && !is_deleting(pod)
}

/// The pod is being deleted and still may run.
pub fn is_terminating(pod: &impl AnyPod) -> bool {
    !is_finished(pod) && is_deleting(pod)
}

/// The condition of this type.
pub fn condition<'a>(status: Option<&'a PodStatus>, kind: &str) -> Option<&'a PodCondition> {
    status?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == kind)
}

/// The status of a strategic patch that gives a pod a condition: a new one comes after all that it has. Follows
/// `k8s.io/kubernetes/pkg/util/pod` (PatchPodStatus).
pub fn status_patch(had: Option<&PodStatus>, condition: Value) -> Value {
    let had = had.and_then(|status| status.conditions.as_ref());
    let types = had.into_iter().flatten().map(|had| json!(had.type_));
    let mut types: Vec<Value> = types.collect();
    if !types.contains(&condition["type"]) {
        types.push(condition["type"].clone());
    }
    let order: Vec<Value> = types
        .into_iter()
        .map(|kind| json!({"type": kind}))
        .collect();
    json!({"$setElementOrder/conditions": order, "conditions": [condition]})
}

/// Whether the pod's condition `Ready` is true.
pub fn is_ready(pod: &impl AnyPod) -> bool {
    condition(pod.its_status(), "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when the pod is ready, if it is.
pub fn ready_since(pod: &impl AnyPod) -> Option<Timestamp> {
    condition(pod.its_status(), "Ready")
        .filter(|ready| ready.status == "True")?
        .last_transition_time
        .as_ref()
        .map(|time| time.0)
}

/// When the pod will have been ready for `min_ready_seconds`, or has been; negative ones count as none.
pub fn available_at(pod: &impl AnyPod, min_ready_seconds: i32) -> Option<Timestamp> {
    let least = SignedDuration::from_secs(min_ready_seconds.max(0).into());
    Some(
        ready_since(pod)?
            .checked_add(least)
            .unwrap_or(Timestamp::MAX),
    )
}

/// Whether the pod has been ready for `min_ready_seconds`.
pub fn is_available(pod: &impl AnyPod, min_ready_seconds: i32, now: Timestamp) -> bool {
    is_ready(pod)
        && (min_ready_seconds == 0
            || available_at(pod, min_ready_seconds).is_some_and(|at| at <= now))
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(phase: Value, ready: &str, since: Value, deleted: Value) -> Pod {
        from_value(json!({"metadata": {"deletionTimestamp": deleted},
            "status": {"phase": phase, "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}]}}))
        .unwrap()
    }

    #[test]
    fn a_new_condition_comes_last() {
        let pod = pod(json!("Running"), "True", Value::Null, Value::Null);
        let patch = |kind: &str| status_patch(pod.status.as_ref(), json!({"type": kind}));
        assert_eq!(
            patch("DisruptionTarget"),
            json!({"$setElementOrder/conditions": [{"type": "Ready"}, {"type": "DisruptionTarget"}],
                "conditions": [{"type": "DisruptionTarget"}]})
        );
        assert_eq!(
            patch("Ready")["$setElementOrder/conditions"],
            json!([{"type": "Ready"}])
        );
        assert_eq!(
            status_patch(None, json!({"type": "A"}))["$setElementOrder/conditions"],
            json!([{"type": "A"}])
        );
    }

    #[test]
    fn stages() {
        let now = json!("2020-01-01T00:00:00Z");
        for (phase, deleted, finished, active, terminating) in [
            (Value::Null, Value::Null, false, true, false),
            (json!("Running"), Value::Null, false, true, false),
            (json!("Running"), now.clone(), false, false, true),
            (json!("Succeeded"), Value::Null, true, false, false),
            (json!("Failed"), now.clone(), true, false, false),
        ] {
            let pod = pod(phase.clone(), "True", Value::Null, deleted);
            assert_eq!(
                (is_finished(&pod), is_active(&pod), is_terminating(&pod)),
                (finished, active, terminating),
                "{phase}"
            );
        }
        assert_eq!(phase(&Pod::default()), "Pending");
    }

    #[test]
    fn availability() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (ready, since, seconds, now, wanted) in [
            ("True", json!("1970-01-01T00:01:40Z"), 0, 100, true),
            ("True", json!("1970-01-01T00:01:40Z"), 10, 109, false),
            ("True", json!("1970-01-01T00:01:40Z"), 10, 110, true),
            ("True", Value::Null, 0, 100, true),
            ("True", Value::Null, 1, 100, false),
            ("False", json!("1970-01-01T00:01:40Z"), 0, 100, false),
        ] {
            let pod = pod(json!("Running"), ready, since.clone(), Value::Null);
            assert_eq!(
                is_available(&pod, seconds, at(now)),
                wanted,
                "{ready} since {since} for {seconds} at {now}"
            );
        }
    }
}
