//! The conditions of a pod that the node owns.
//!
//! Invariant: pure; a condition's `lastTransitionTime` moves only when its status does.
//! Follows `pkg/kubelet/status/generate.go`.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::containers::staying;

use super::{
    facts::Facts,
    names::{self, is_sidecar, spec},
    restart_all,
};
use crate::time;

/// Conditions that the node writes; all others belong to somebody else and are kept.
pub const OWNED: [&str; 5] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
];
/// Conditions that the node writes only when there is need.
const AT_NEED: [&str; 2] = ["PodResizePending", "PodResizeInProgress"];

/// Whether the condition is the node's to write and to take away.
pub fn is_own(type_: &str) -> bool {
    OWNED.contains(&type_) || AT_NEED.contains(&type_) || type_ == restart_all::CONDITION
}

fn condition(pod: &Pod, type_: &str, status: bool, reason: &str, message: String) -> PodCondition {
    PodCondition {
        type_: type_.into(),
        status: if status { "True" } else { "False" }.into(),
        reason: (!reason.is_empty()).then(|| reason.into()),
        message: (!message.is_empty()).then_some(message),
        observed_generation: pod.metadata.generation,
        last_probe_time: None,
        last_transition_time: None,
    }
}

/// `[a b]`, as Go prints a list of strings.
fn listed(names: &[&str]) -> String {
    format!("[{}]", names.join(" "))
}

fn problems(unknown: &[&str], known: &[&str], word: &str) -> String {
    let mut messages = Vec::new();
    if !unknown.is_empty() {
        messages.push(format!(
            "containers with unknown status: {}",
            listed(unknown)
        ));
    }
    if !known.is_empty() {
        messages.push(format!("containers with {word} status: {}", listed(known)));
    }
    messages.join(", ")
}

/// `ContainersReady`.
pub fn containers_ready(pod: &Pod, statuses: &[ContainerStatus], phase: &str) -> PodCondition {
    ready(pod, "ContainersReady", statuses, phase)
}

fn ready(pod: &Pod, type_: &str, statuses: &[ContainerStatus], phase: &str) -> PodCondition {
    let by_name = names::by_name(statuses);
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    for container in staying(spec(pod)) {
        match by_name.get(container.name.as_str()) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match phase {
        "Succeeded" if unknown.is_empty() => {
            return condition(pod, type_, false, "PodCompleted", String::new());
        }
        "Failed" => return condition(pod, type_, false, "PodFailed", String::new()),
        _ => {}
    }
    let message = problems(&unknown, &unready, "unready");
    if message.is_empty() {
        condition(pod, type_, true, "", message)
    } else {
        condition(pod, type_, false, "ContainersNotReady", message)
    }
}

/// `Ready`: all containers are, and so is what the readiness gates name.
pub fn pod_ready(
    pod: &Pod,
    statuses: &[ContainerStatus],
    others: &[PodCondition],
    phase: &str,
) -> PodCondition {
    let ready = ready(pod, "Ready", statuses, phase);
    if ready.status != "True" {
        return ready;
    }
    let closed: Vec<String> = spec(pod)
        .readiness_gates
        .iter()
        .flatten()
        .filter_map(|gate| {
            match others
                .iter()
                .find(|condition| condition.type_ == gate.condition_type)
            {
                None => Some(format!(
                    "corresponding condition of pod readiness gate {} does not exist.",
                    GoQuoted(&gate.condition_type)
                )),
                Some(condition) if condition.status != "True" => Some(format!(
                    "the status of pod readiness gate {} is not \"True\", but {}",
                    GoQuoted(&gate.condition_type),
                    condition.status
                )),
                Some(_) => None,
            }
        })
        .collect();
    if closed.is_empty() {
        ready
    } else {
        condition(
            pod,
            "Ready",
            false,
            "ReadinessGatesNotReady",
            closed.join(", "),
        )
    }
}

fn is_initialized(
    container: &k8s_openapi::api::core::v1::Container,
    status: &ContainerStatus,
) -> bool {
    if is_sidecar(container) {
        status.started == Some(true)
    } else {
        status.ready
    }
}

/// `Initialized`.
pub fn initialized(
    pod: &Pod,
    old: &PodStatus,
    statuses: &[ContainerStatus],
    phase: &str,
) -> PodCondition {
    let by_name = names::by_name(statuses);
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in spec(pod).init_containers.iter().flatten() {
        match by_name.get(container.name.as_str()) {
            None => unknown.push(container.name.as_str()),
            Some(status) if !is_initialized(container, status) => {
                incomplete.push(container.name.as_str())
            }
            Some(_) => {}
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return condition(pod, "Initialized", true, "PodCompleted", String::new());
    }
    let message = problems(&unknown, &incomplete, "incomplete");
    let started = spec(pod).containers.iter().any(|container| {
        by_name
            .get(container.name.as_str())
            .is_some_and(|status| has_started(status))
    });
    let was = old
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == "Initialized" && condition.status == "True");
    if message.is_empty() || started || was {
        return condition(pod, "Initialized", true, "", String::new());
    }
    condition(
        pod,
        "Initialized",
        false,
        "ContainersNotInitialized",
        message,
    )
}

/// Whether the container ran at some time.
fn has_started(status: &ContainerStatus) -> bool {
    let ran = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
        state
            .as_ref()
            .is_some_and(|state| state.running.is_some() || state.terminated.is_some())
    };
    ran(&status.state) || ran(&status.last_state)
}

/// All conditions of the pod: those of others as they are in `others`, then the node's own with their times of transition taken from `old`.
pub fn all(
    facts: &Facts,
    statuses: &[ContainerStatus],
    phase: &str,
    sandbox_ready: bool,
) -> Vec<PodCondition> {
    let Facts { pod, old, .. } = *facts;
    let current = pod
        .status
        .as_ref()
        .and_then(|status| status.conditions.as_deref())
        .unwrap_or_default();
    let mut conditions: Vec<PodCondition> = current
        .iter()
        .filter(|condition| !is_own(&condition.type_))
        .cloned()
        .collect();
    conditions.extend_from_slice(facts.resize);
    if let Some(disrupted) = old
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == "DisruptionTarget")
        && !conditions
            .iter()
            .any(|condition| condition.type_ == "DisruptionTarget")
    {
        conditions.push(disrupted.clone());
    }
    let own = [
        condition(
            pod,
            "PodReadyToStartContainers",
            sandbox_ready,
            "",
            String::new(),
        ),
        initialized(pod, old, statuses, phase),
        pod_ready(pod, statuses, &conditions, phase),
        containers_ready(pod, statuses, phase),
        condition(pod, "PodScheduled", true, "", String::new()),
    ];
    let restarting = restart_all::condition(pod, facts.view, old, phase);
    conditions.extend(
        own.into_iter()
            .chain(restarting)
            .map(|condition| with_transition(condition, old)),
    );
    conditions
}

/// Takes the time of transition from the old condition when the status is still the same.
pub fn with_transition(mut condition: PodCondition, old: &PodStatus) -> PodCondition {
    let before = old
        .conditions
        .iter()
        .flatten()
        .find(|old| old.type_ == condition.type_ && old.status == condition.status);
    condition.last_transition_time = before
        .and_then(|before| before.last_transition_time.clone())
        .or_else(|| Some(time::api_now()));
    condition
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde_json::{from_value, json};

    use super::*;
    use crate::pod::view::PodView;

    fn pod(gates: &[&str]) -> Pod {
        let gates: Vec<_> = gates
            .iter()
            .map(|gate| json!({"conditionType": gate}))
            .collect();
        from_value(json!({"metadata": {"generation": 3}, "spec": {"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}], "readinessGates": gates}})).unwrap()
    }

    fn statuses(text: &str) -> Vec<ContainerStatus> {
        text.split_whitespace()
            .map(|part| {
                let (name, ready) = part.split_once('=').unwrap();
                ContainerStatus {
                    name: name.into(),
                    ready: ready == "y",
                    ..Default::default()
                }
            })
            .collect()
    }

    #[test]
    fn readiness() {
        let table = [
            ("a=y b=y", "Running", "True", "", ""),
            (
                "a=n b=n",
                "Running",
                "False",
                "ContainersNotReady",
                "containers with unready status: [a b]",
            ),
            (
                "a=n",
                "Running",
                "False",
                "ContainersNotReady",
                "containers with unknown status: [b], containers with unready status: [a]",
            ),
            ("a=n b=n", "Succeeded", "False", "PodCompleted", ""),
            ("a=y b=y", "Failed", "False", "PodFailed", ""),
        ];
        for (text, phase, status, reason, message) in table {
            let condition = containers_ready(&pod(&[]), &statuses(text), phase);
            assert_eq!(
                (
                    condition.status.as_str(),
                    condition.reason.as_deref().unwrap_or(""),
                    condition.message.as_deref().unwrap_or("")
                ),
                (status, reason, message)
            );
            assert_eq!(condition.observed_generation, Some(3));
        }
        let gated = pod_ready(&pod(&["x/y"]), &statuses("a=y b=y"), &[], "Running");
        assert_eq!(
            gated.message.unwrap(),
            "corresponding condition of pod readiness gate \"x/y\" does not exist."
        );
    }

    #[test]
    fn initialization() {
        let old = PodStatus::default();
        let waiting = initialized(&pod(&[]), &old, &statuses("i=n a=n b=n"), "Pending");
        assert_eq!(
            (waiting.status.as_str(), waiting.message.as_deref()),
            ("False", Some("containers with incomplete status: [i]"))
        );
        assert_eq!(
            initialized(&pod(&[]), &old, &statuses("i=y a=n b=n"), "Pending").status,
            "True"
        );
    }

    #[test]
    fn transition_times_are_kept() {
        let old: PodStatus = from_value(json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"}]})).unwrap();
        let (pod, view) = (pod(&[]), PodView::default());
        let facts = Facts {
            pod: &pod,
            old: &old,
            view: &view,
            reasons: &HashMap::new(),
            messages: &HashMap::new(),
            probes: &HashMap::new(),
            in_post_start: &[],
            ips: &[],
            host_ips: &[],
            terminal: false,
            finished: false,
            failed: None,
            resize: &[],
        };
        let now = all(&facts, &statuses("i=y a=y b=y"), "Running", true);
        let ready = now
            .iter()
            .find(|condition| condition.type_ == "Ready")
            .unwrap();
        assert_eq!(
            ready.last_transition_time.as_ref().unwrap().0.to_string(),
            "2020-01-01T00:00:00Z"
        );
        let types: Vec<_> = now
            .iter()
            .map(|condition| condition.type_.as_str())
            .collect();
        assert_eq!(types, OWNED);
    }
}
