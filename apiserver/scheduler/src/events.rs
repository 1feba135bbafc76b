//! What the scheduler tells of pods: events in events.k8s.io/v1, and the condition `PodScheduled`.
//!
//! Follows `pkg/scheduler/schedule_one.go` (handleSchedulingFailure) for texts.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use skiff_api::machinery::time;

use crate::{framework::Rejection, pod::PodInfo};

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s). no new claims to deallocate, preemption: …`.
pub fn fit_error(nodes: usize, rejections: &[Rejection]) -> String {
    if nodes == 0 {
        return "no nodes available to schedule pods".into();
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for reason in rejections.iter().flat_map(|r| &r.reasons) {
        *counts.entry(reason).or_default() += 1;
    }
    let joined = |counts: BTreeMap<&str, usize>| {
        let mut list: Vec<String> = counts.into_iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        list.sort();
        list.join(", ")
    };
    let mut preemption: BTreeMap<&str, usize> = BTreeMap::new();
    for rejection in rejections {
        let why = if rejection.unresolvable { "Preemption is not helpful for scheduling" } else { "No preemption victims found for incoming pod" };
        *preemption.entry(why).or_default() += 1;
    }
    format!(
        "0/{nodes} nodes are available: {}. no new claims to deallocate, preemption: 0/{nodes} nodes are available: {}.",
        joined(counts),
        joined(preemption)
    )
}

/// Of a pod that no node could take, whatever the nodes are like. (The last two words come from upstream's search for victims, which finds no
/// state of its own then.)
pub fn pod_error(nodes: usize, why: &str) -> String {
    if nodes == 0 {
        return fit_error(0, &[]);
    }
    format!("0/{nodes} nodes are available: {why}. not found")
}

/// One event about a pod.
pub fn event(pod: &PodInfo, scheduler: &str, kind: &str, reason: &str, action: &str, note: &str, now: jiff::Timestamp) -> Value {
    let suffix = format!("{:x}", now.as_nanosecond());
    json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": format!("{}.{suffix}", pod.name), "namespace": pod.namespace},
        "eventTime": time::micros(now), "reportingController": scheduler, "reportingInstance": scheduler,
        "action": action, "reason": reason, "type": kind, "note": note.chars().take(1024).collect::<String>(),
        "regarding": {"kind": "Pod", "apiVersion": "v1", "namespace": pod.namespace, "name": pod.name, "uid": &*pod.uid,
            "resourceVersion": pod.pod.metadata.resource_version},
    })
}

/// The status patch of a pod that fits nowhere; `None` when it says so already.
pub fn unschedulable(pod: &PodInfo, message: &str, now: jiff::Timestamp) -> Option<Value> {
    let had = pod.pod.status.as_ref().and_then(|s| s.conditions.as_ref()).into_iter().flatten().find(|c| c.type_ == "PodScheduled");
    if had.is_some_and(|c| c.status == "False" && c.message.as_deref() == Some(message)) {
        return None;
    }
    let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
        "lastProbeTime": null, "lastTransitionTime": time::seconds(now), "observedGeneration": pod.pod.metadata.generation});
    Some(json!({"status": {"conditions": [condition]}}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_of_upstream() {
        let rejections = [Rejection::unresolvable("node(s) had untolerated taint(s)"), Rejection::new("Insufficient cpu"), Rejection::new("Insufficient cpu")];
        assert_eq!(
            fit_error(3, &rejections),
            "0/3 nodes are available: 1 node(s) had untolerated taint(s), 2 Insufficient cpu. no new claims to deallocate, preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod."
        );
        assert_eq!(fit_error(0, &[]), "no nodes available to schedule pods");
        assert_eq!(pod_error(2, "x"), "0/2 nodes are available: x. not found");
        assert_eq!(pod_error(0, "x"), "no nodes available to schedule pods");
    }
}
