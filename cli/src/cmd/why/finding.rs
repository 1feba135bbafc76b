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
    /// What a container wrote last may say more.
    pub log: Option<Log>,
}

/// What a container wrote.
#[derive(Clone, Debug, PartialEq)]
pub struct Log {
    pub namespace: String,
    pub pod: String,
    pub container: String,
    /// Before it was started again.
    pub previous: bool,
}

impl Finding {
    pub fn new(what: String, next: String, hopeless: bool) -> Finding {
        Finding {
            what,
            next,
            hopeless,
            log: None,
        }
    }

    /// Whether another says the same of an object that belongs to this one's.
    pub fn says_what(&self, other: &Finding) -> bool {
        let said = |what: &str| what.split_once(": ").map(|(_, said)| said.to_owned());
        self.what == other.what
            || (self.next == other.next && said(&self.what) == said(&other.what))
    }

    /// Whether what mends this mends another, too.
    pub fn mends_what(&self, other: &Finding) -> bool {
        self.says_what(other) || (!self.next.is_empty() && self.next == other.next)
    }

    fn with_log(self, pod: &Value, container: &str, previous: bool) -> Finding {
        let text = |field: &str| pod.at("metadata").text(field).to_string();
        Finding {
            log: Some(Log {
                namespace: text("namespace"),
                pod: text("name"),
                container: container.to_string(),
                previous,
            }),
            ..self
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
        "Service" => of_service(object, pods),
        "PersistentVolumeClaim" => of_claim(object),
        "HorizontalPodAutoscaler" => of_conditions(
            object,
            &[
                ("AbleToScale", "False", false),
                ("ScalingActive", "False", false),
            ],
        ),
        "Namespace" => of_conditions(
            object,
            &[
                ("NamespaceDeletionDiscoveryFailure", "True", false),
                ("NamespaceDeletionContentFailure", "True", false),
                ("NamespaceContentRemaining", "True", false),
                ("NamespaceFinalizersRemaining", "True", false),
            ],
        ),
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

/// A service leads nowhere without pods.
fn of_service(service: &Value, pods: &[Value]) -> Vec<Finding> {
    let selector = service.at("spec").at("selector").as_object();
    let Some(selector) = selector.filter(|_| pods.is_empty()) else {
        return Vec::new();
    };
    let labels = selector.iter().map(|(key, value)| {
        let value = value.as_str().unwrap_or_default();
        format!("{key}={value}")
    });
    let labels: Vec<String> = labels.collect();
    let namespace = service.at("metadata").text("namespace");
    let what = format!(
        "{}: no pod has its labels: {}",
        name(service),
        labels.join(",")
    );
    let next = format!("skiff get pods --show-labels -n {namespace}");
    vec![Finding::new(what, next, false)]
}

fn of_claim(claim: &Value) -> Vec<Finding> {
    let phase = claim.at("status").text("phase");
    let what = match phase {
        "Pending" => format!("{} has no volume yet", name(claim)),
        "Lost" => format!(
            "{} has lost its volume {}",
            name(claim),
            claim.at("spec").text("volumeName")
        ),
        _ => return Vec::new(),
    };
    let next = format!("skiff describe {}", name(claim));
    vec![Finding::new(what, next, phase == "Lost")]
}

/// The command that shows more of what a message tells of; empty for none.
pub fn mend(message: &str, namespace: &str) -> String {
    match message.contains("exceeded quota") {
        true => format!("skiff describe quota -n {namespace}"),
        false => String::new(),
    }
}

fn of_conditions(object: &Value, wrong: &[(&str, &str, bool)]) -> Vec<Finding> {
    let conditions = object.at("status").list("conditions").iter();
    let found = conditions.filter_map(|c| {
        let (_, _, hopeless) = wrong
            .iter()
            .find(|(kind, status, _)| c.text("type") == *kind && c.text("status") == *status)?;
        let namespace = object.at("metadata").text("namespace");
        let next = mend(c.text("message"), namespace);
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
    let failed = status.text("phase") == "Failed";
    let mut found = Vec::new();
    let scheduled = status.list("conditions").iter();
    let mut scheduled = scheduled.filter(|c| c.text("type") == "PodScheduled");
    if let Some(c) = scheduled.find(|c| c.text("status") == "False") {
        let what = format!("{shown} has no node: {}", because(c));
        found.push(Finding::new(what, "skiff describe nodes".into(), false));
    }
    for list in ["initContainerStatuses", "containerStatuses"] {
        for container in status.list(list) {
            found.extend(of_container(pod, &shown, container));
        }
    }
    // nobody starts them again
    found.iter_mut().for_each(|found| found.hopeless |= failed);
    let why = because(status);
    if failed && (found.is_empty() || !why.is_empty()) {
        let why = match why.as_str() {
            "" => String::new(),
            why => format!(": {why}"),
        };
        let next = format!("skiff logs {shown}");
        found.insert(0, Finding::new(format!("{shown} failed{why}"), next, true));
    }
    found
}

fn of_container(object: &Value, pod: &str, status: &Value) -> Option<Finding> {
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
        let found = Finding::new(format!("{shown}: {reason}: {detail}"), next, *hopeless);
        return Some(match reason {
            "CrashLoopBackOff" => found.with_log(object, container, true),
            _ => found,
        });
    }
    let ended = status.at("state").at("terminated");
    if ended.int("exitCode") != 0 {
        let what = format!(
            "{shown} ended with {} ({})",
            ended.int("exitCode"),
            ended.text("reason")
        );
        let next = format!("skiff logs {pod} -c {container}");
        return Some(Finding::new(what, next, false).with_log(object, container, false));
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
            let log = found[0]
                .log
                .as_ref()
                .map(|log| (log.pod.as_str(), log.previous));
            let crashes = reason == "CrashLoopBackOff";
            assert_eq!(log, crashes.then_some(("p", true)));
        }
        assert!(of(&waiting("ContainerCreating"), &[]).is_empty());
        let job = json!({"kind": "Job", "metadata": {"name": "j"}, "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]}});
        let found = of(&job, &[]);
        assert_eq!(
            found[0].what,
            "job/j: Failed: BackoffLimitExceeded: too often"
        );
        assert!(found[0].hopeless);
        let failed = json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "status": {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]}});
        let found = of(&failed, &[]);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "pod/p: container c ended with 3 (Error)");
        assert!(found[0].hopeless && found[0].log.is_some());
        let evicted = json!({"kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Failed", "reason": "Evicted"}});
        assert_eq!(of(&evicted, &[])[0].what, "pod/p failed: Evicted");
        let service = json!({"kind": "Service", "metadata": {"name": "s", "namespace": "n"}, "spec": {"selector": {"app": "a", "tier": "b"}}});
        let found = of(&service, &[]);
        assert_eq!(
            found[0].what,
            "service/s: no pod has its labels: app=a,tier=b"
        );
        assert!(
            of(
                &service,
                &[json!({"kind": "Pod", "metadata": {"name": "p"}})]
            )
            .is_empty()
        );
        let claim = |phase: &str| json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {"volumeName": "v"}, "status": {"phase": phase}});
        let said = |phase: &str| of(&claim(phase), &[]).pop().map(|found| found.what);
        assert_eq!(said("Bound"), None);
        let pending = said("Pending").unwrap();
        assert_eq!(pending, "persistentvolumeclaim/c has no volume yet");
        let lost = said("Lost").unwrap();
        assert_eq!(lost, "persistentvolumeclaim/c has lost its volume v");
        let full = json!({"kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "pods \"d\" is forbidden: exceeded quota: q"}]}});
        assert_eq!(of(&full, &[])[0].next, "skiff describe quota -n n");
    }
}
