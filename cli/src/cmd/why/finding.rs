//! What is the matter with an object: what its status says, and what the pods say that it made.
//! Invariant: a finding is in the object's own words; hopeless is only what does not end without somebody's doing.
//! Behaviour follows nothing upstream: kubectl does not do this.

use crate::typed::Read;
use serde_json::Value;

/// One thing that is the matter.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// `pod/web-1: container front: …`.
    pub what: String,
    /// The command that shows more, or mends it; empty for none.
    pub next: String,
    /// It stays so until somebody does something.
    pub hopeless: bool,
}

impl Finding {
    fn new(what: String, next: String, hopeless: bool) -> Finding {
        Finding {
            what,
            next,
            hopeless,
        }
    }
}

fn name(object: &Value) -> String {
    let kind = object.text("kind").to_lowercase();
    format!("{kind}/{}", object.at("metadata").text("name"))
}

/// A reason with its message, as far as there are any.
fn because(state: &Value) -> String {
    match (state.text("reason"), state.text("message").trim()) {
        (reason, "") => reason.into(),
        ("", message) => message.into(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// What is the matter with an object and its pods.
pub fn of(object: &Value, pods: &[Value]) -> Vec<Finding> {
    let mut found = match object.text("kind") {
        "Pod" => of_pod(object),
        "Job" => of_conditions(
            object,
            &[("Failed", "True", true), ("Suspended", "True", false)],
        ),
        "Deployment" => of_conditions(
            object,
            &[
                ("ReplicaFailure", "True", true),
                ("Progressing", "False", true),
            ],
        ),
        "ReplicaSet" | "ReplicationController" => {
            of_conditions(object, &[("ReplicaFailure", "True", true)])
        }
        _ => of_conditions(
            object,
            &[("Ready", "False", false), ("Available", "False", false)],
        ),
    };
    for pod in pods {
        found.extend(of_pod(pod));
    }
    found
}

fn of_conditions(object: &Value, wrong: &[(&str, &str, bool)]) -> Vec<Finding> {
    let conditions = object.at("status").list("conditions").iter();
    let found = conditions.filter_map(|c| {
        let (_, _, hopeless) = wrong
            .iter()
            .find(|(kind, status, _)| c.text("type") == *kind && c.text("status") == *status)?;
        let next = match c.text("message") {
            text if text.contains("exceeded quota") => {
                format!(
                    "skiff describe quota -n {}",
                    object.at("metadata").text("namespace")
                )
            }
            _ => String::new(),
        };
        let what = format!("{}: {}: {}", name(object), c.text("type"), because(c));
        Some(Finding::new(what, next, *hopeless))
    });
    found.collect()
}

/// Reasons for which a container waits, and whether it does so until somebody does something.
const WAITS: &[(&str, bool)] = &[
    ("ErrImagePull", true),
    ("ImagePullBackOff", true),
    ("InvalidImageName", true),
    ("ErrImageNeverPull", true),
    ("CrashLoopBackOff", true),
    ("CreateContainerConfigError", false),
    ("CreateContainerError", false),
    ("RunContainerError", false),
];

fn of_pod(pod: &Value) -> Vec<Finding> {
    let (shown, status) = (name(pod), pod.at("status"));
    let mut found = Vec::new();
    if status.text("phase") == "Failed" {
        let why = match because(status).as_str() {
            "" => String::new(),
            why => format!(": {why}"),
        };
        let next = format!("skiff logs {shown}");
        found.push(Finding::new(format!("{shown} failed{why}"), next, true));
    }
    let scheduled = status.list("conditions").iter();
    let mut scheduled = scheduled.filter(|c| c.text("type") == "PodScheduled");
    if let Some(c) = scheduled.find(|c| c.text("status") == "False") {
        let what = format!("{shown} has no node: {}", because(c));
        found.push(Finding::new(what, "skiff describe nodes".into(), false));
    }
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status.list(list) {
            found.extend(of_container(&shown, container));
        }
    }
    found
}

fn of_container(pod: &str, status: &Value) -> Option<Finding> {
    let (container, image) = (status.text("name"), status.text("image"));
    let shown = format!("{pod}: container {container}");
    let waiting = status.at("state").at("waiting");
    let reason = waiting.text("reason");
    if let Some((_, hopeless)) = WAITS.iter().find(|(known, _)| *known == reason) {
        let ended = status.at("lastState").at("terminated");
        let (detail, next) = match reason {
            "CrashLoopBackOff" => (
                format!(
                    "ended with {} ({}), {} times so far",
                    ended.int("exitCode"),
                    ended.text("reason"),
                    status.int("restartCount")
                ),
                format!("skiff logs {pod} -c {container} --previous"),
            ),
            _ if reason.contains("Image") => (
                format!("image {image}: {}", waiting.text("message")),
                format!("skiff describe {pod}"),
            ),
            _ => (
                waiting.text("message").into(),
                format!("skiff describe {pod}"),
            ),
        };
        return Some(Finding::new(
            format!("{shown}: {reason}: {detail}"),
            next,
            *hopeless,
        ));
    }
    let ended = status.at("state").at("terminated");
    if ended.int("exitCode") != 0 {
        let what = format!(
            "{shown} ended with {} ({})",
            ended.int("exitCode"),
            ended.text("reason")
        );
        return Some(Finding::new(
            what,
            format!("skiff logs {pod} -c {container}"),
            false,
        ));
    }
    let runs = status.at("state").some("running").is_some();
    if runs && !status.flag("ready") {
        let what = format!("{shown} runs and is not ready: its readiness probe has not succeeded");
        return Some(Finding::new(what, format!("skiff describe {pod}"), false));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_the_matter() {
        let waiting = |reason: &str| json!({"kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Pending", "containerStatuses": [{"name": "c", "image": "i:1", "restartCount": 3, "state": {"waiting": {"reason": reason, "message": "m"}}, "lastState": {"terminated": {"exitCode": 2, "reason": "Error"}}}]}});
        for (reason, what, hopeless) in [
            (
                "ImagePullBackOff",
                "pod/p: container c: ImagePullBackOff: image i:1: m",
                true,
            ),
            (
                "CrashLoopBackOff",
                "pod/p: container c: CrashLoopBackOff: ended with 2 (Error), 3 times so far",
                true,
            ),
            (
                "CreateContainerConfigError",
                "pod/p: container c: CreateContainerConfigError: m",
                false,
            ),
        ] {
            let found = of(&waiting(reason), &[]);
            assert_eq!(
                (found[0].what.as_str(), found[0].hopeless),
                (what, hopeless)
            );
        }
        assert!(of(&waiting("ContainerCreating"), &[]).is_empty());
        let job = json!({"kind": "Job", "metadata": {"name": "j"}, "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]}});
        let found = of(&job, &[]);
        assert_eq!(
            found[0].what,
            "job/j: Failed: BackoffLimitExceeded: too often"
        );
        assert!(found[0].hopeless);
        let full = json!({"kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "pods \"d\" is forbidden: exceeded quota: q"}]}});
        assert_eq!(of(&full, &[])[0].next, "skiff describe quota -n n");
    }
}
