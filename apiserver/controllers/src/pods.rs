//! What controllers ask of pods, and how they make and delete them.
//!
//! Follows pkg/controller/controller_utils.go.

use std::{cmp::Ordering, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::PodTemplateSpec,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use skiff_podspec::pod::{Pod, Spec};
use skiff_podspec::{
    conditions::available_at,
    containers::sidecars,
    parts::{HasSpec, Meta},
};
pub use skiff_podspec::{
    conditions::{
        condition, is_active, is_available, is_deleting, is_finished, is_ready, is_terminating,
        phase, ready_since,
    },
    spec,
};

use crate::{clock::until, prelude::*};

/// After which time the next of `pods` becomes available, if one will.
pub fn next_availability(
    pods: &[Arc<Pod>],
    min_ready_seconds: i32,
    now: Timestamp,
) -> Option<Duration> {
    let until_available = |pod: &Arc<Pod>| {
        let at = available_at(pod, min_ready_seconds)?;
        (at > now).then(|| until(now, at))
    };
    pods.iter().filter_map(until_available).min()
}

/// Whole seconds as a duration; negative ones as none.
pub fn seconds(count: i32) -> Duration {
    Duration::from_secs(u64::try_from(count).unwrap_or(0))
}

/// The node that the pod is bound to; empty when it is bound to none.
pub fn node_name(pod: &Pod) -> &str {
    pod.spec().node_name.as_deref().unwrap_or("")
}

/// A new pod from a template, with a name that the server completes.
pub fn from_template(
    template: &PodTemplateSpec,
    namespace: &str,
    owner_name: &str,
    owner: OwnerReference,
) -> Pod {
    let meta = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(name_prefix(owner_name)),
            namespace: Some(namespace.into()),
            labels: meta.labels,
            annotations: meta.annotations,
            finalizers: meta.finalizers,
            owner_references: Some(vec![owner]),
            ..Default::default()
        },
        spec: template.spec.clone().map(Spec::from),
        status: None,
    }
}

/// `name-`, or just the name where a dash would make it too long.
fn name_prefix(owner: &str) -> String {
    if owner.len() < 253 {
        format!("{owner}-")
    } else {
        owner.to_string()
    }
}

/// Creates a pod and says so (or why not) in an event about its owner.
pub async fn create<O: Kind>(
    api: &Api,
    recorder: &Recorder,
    owner: &O,
    pod: &Pod,
) -> Result<ObjectMeta, Error> {
    match api.create_quietly(pod).await {
        Ok(meta) => {
            let message = format!("Created pod: {}", meta.name());
            recorder.normal(owner, "SuccessfulCreate", message);
            Ok(meta)
        }
        Err(error) => {
            if !error.is_namespace_terminating() {
                recorder.warning(owner, "FailedCreate", format!("Error creating: {error}"));
            }
            Err(error)
        }
    }
}

/// Deletes a pod and says so (or why not) in an event about its owner.
pub async fn delete<O: Kind>(
    api: &Api,
    recorder: &Recorder,
    owner: &O,
    pod: &Key,
) -> Result<(), Error> {
    match api.delete::<Pod>(pod, &Delete::default()).await {
        Ok(()) => {
            let message = format!("Deleted pod: {}", pod.name());
            recorder.normal(owner, "SuccessfulDelete", message);
            Ok(())
        }
        Err(error) => {
            if !error.is_not_found() {
                recorder.warning(owner, "FailedDelete", format!("Error deleting: {error}"));
            }
            Err(error)
        }
    }
}

/// Which of two pods is deleted first (`Less`): unbound before bound, pending before running, not ready before ready, cheaper before
/// dearer to delete, on a crowded node before others, ready for a shorter time, more restarts, younger.
pub fn deletion_order(a: (&Pod, usize), b: (&Pod, usize), now: Timestamp) -> Ordering {
    let ((a, rank_a), (b, rank_b)) = (a, b);
    let bound = |pod: &Pod| !node_name(pod).is_empty();
    let stage = |pod: &Pod| match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        _ => 2,
    };
    bound(a)
        .cmp(&bound(b))
        .then_with(|| stage(a).cmp(&stage(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| rank_b.cmp(&rank_a))
        .then_with(|| younger(ready_since(a), ready_since(b), now))
        .then_with(|| restarts(b, true).cmp(&restarts(a, true)))
        .then_with(|| restarts(b, false).cmp(&restarts(a, false)))
        .then_with(|| younger(created(a), created(b), now))
}

/// Orders by age, younger first, on a logarithmic scale: ages alike within a factor of two count as equal and are left to chance.
fn younger(a: Option<Timestamp>, b: Option<Timestamp>, now: Timestamp) -> Ordering {
    match (a, b) {
        (None, None) => Ordering::Equal,
        (None, Some(_)) => Ordering::Less,
        (Some(_), None) => Ordering::Greater,
        (Some(a), Some(b)) if a == b => Ordering::Equal,
        (Some(a), Some(b)) => {
            let bucket = |t: Timestamp| {
                i64::try_from(until(t, now).as_secs())
                    .ok()
                    .filter(|s| *s > 0)
                    .map_or(-1, |s| i64::from(s.ilog2()))
            };
            bucket(a).cmp(&bucket(b))
        }
    }
}

fn created(pod: &Pod) -> Option<Timestamp> {
    pod.metadata.creation_timestamp.as_ref().map(|t| t.0)
}

fn deletion_cost(pod: &Pod) -> i32 {
    let value = pod
        .metadata
        .annotation("controller.kubernetes.io/pod-deletion-cost");
    value.and_then(|v| v.parse().ok()).unwrap_or(0)
}

fn restarts(pod: &Pod, regular: bool) -> i32 {
    let status = pod.status.as_ref();
    let counted = if regular {
        status.and_then(|s| s.container_statuses.as_ref())
    } else {
        status.and_then(|s| s.init_container_statuses.as_ref())
    };
    let stays = |name: &str| regular || sidecars(spec(pod)).any(|sidecar| sidecar.name == name);
    counted
        .into_iter()
        .flatten()
        .filter(|c| stays(&c.name))
        .map(|c| c.restart_count)
        .max()
        .unwrap_or(0)
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use k8s_openapi::{
        api::core::v1::{PodCondition, PodSpec, PodStatus},
        apimachinery::pkg::apis::meta::v1::Time,
    };

    /// A pod for tests: bound or not, in a phase, ready since some second or not.
    pub fn pod(name: &str, node: &str, phase: &str, ready_at: Option<i64>) -> Pod {
        let ready = PodCondition {
            type_: "Ready".into(),
            status: if ready_at.is_some() { "True" } else { "False" }.into(),
            last_transition_time: ready_at.map(|s| Time(Timestamp::from_second(s).unwrap())),
            ..Default::default()
        };
        Pod {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("ns".into()),
                uid: Some(name.into()),
                ..Default::default()
            },
            spec: Some(Spec {
                node_name: (!node.is_empty()).then(|| node.into()),
                ..Default::default()
            }),
            status: Some(
                PodStatus {
                    phase: Some(phase.into()),
                    conditions: Some(vec![ready]),
                    ..Default::default()
                }
                .into(),
            ),
        }
    }

    #[test]
    fn deletion_order_of_pods() {
        let now = Timestamp::from_second(10_000).unwrap();
        let mut dear = pod("dear", "n", "Running", Some(1));
        dear.metadata.annotations = Some(
            [(
                "controller.kubernetes.io/pod-deletion-cost".to_string(),
                "7".to_string(),
            )]
            .into(),
        );
        let cases = [
            (
                pod("a", "", "Pending", None),
                pod("b", "n", "Pending", None),
            ),
            (
                pod("a", "n", "Pending", None),
                pod("b", "n", "Running", None),
            ),
            (
                pod("a", "n", "Running", None),
                pod("b", "n", "Running", Some(1)),
            ),
            (pod("a", "n", "Running", Some(1)), dear),
            (
                pod("a", "n", "Running", Some(9_990)),
                pod("b", "n", "Running", Some(1)),
            ),
        ];
        for (first, second) in &cases {
            assert_eq!(
                deletion_order((first, 0), (second, 0), now),
                Ordering::Less,
                "{:?} before {:?}",
                first.metadata.name,
                second.metadata.name
            );
        }
        let restarted = |name: &str| {
            let mut pod = pod("a", "n", "Running", Some(1));
            let spec: PodSpec =
                serde_json::from_value(serde_json::json!({"nodeName": "n", "containers": [],
                "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}))
                .unwrap();
            pod.spec = Some(spec.into());
            let counted = serde_json::json!([{"name": name, "image": "", "imageID": "", "ready": true, "restartCount": 3}]);
            pod.status.as_mut().unwrap().init_container_statuses =
                serde_json::from_value(counted).unwrap();
            pod
        };
        for (name, expected) in [("s", Ordering::Less), ("i", Ordering::Equal)] {
            assert_eq!(
                deletion_order(
                    (&restarted(name), 0),
                    (&pod("b", "n", "Running", Some(1)), 0),
                    now
                ),
                expected,
                "restarts of {name}"
            );
        }
        let (a, b) = (
            pod("a", "n", "Running", Some(5)),
            pod("b", "m", "Running", Some(5)),
        );
        assert_eq!(
            deletion_order((&a, 3), (&b, 1), now),
            Ordering::Less,
            "the more crowded node first"
        );
    }

    #[test]
    fn availability() {
        let ready = pod("a", "n", "Running", Some(100));
        assert_eq!(
            next_availability(&[Arc::new(ready)], 10, Timestamp::from_second(104).unwrap()),
            Some(Duration::from_secs(6))
        );
    }
}
