//! What is the matter with an object: what its status says, and what the pods say that it made.
//! Invariant: a finding is in the object's own words; hopeless is only what does not end without somebody's doing.
//! Behaviour follows nothing upstream: kubectl does not do this.

use super::facts::Facts;
use super::{leads, pod};
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

    pub fn with_log(self, pod: &Value, container: &str, previous: bool) -> Finding {
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

/// `kind/name`.
pub fn name(object: &Value) -> String {
    let kind = object.text("kind").to_lowercase();
    format!("{kind}/{}", object.at("metadata").text("name"))
}

/// A reason with its message, as far as there are any.
pub fn because(state: &Value) -> String {
    match (state.text("reason"), state.text("message").trim()) {
        (reason, "") => reason.into(),
        ("", message) => message.into(),
        (reason, message) => format!("{reason}: {message}"),
    }
}

/// What is the matter with an object and its pods, with what is known of what they hang on.
pub fn of(object: &Value, pods: &[Value], facts: &Facts) -> Vec<Finding> {
    let mut found = Vec::from_iter(held(object));
    found.extend(of_status(object, pods, facts));
    for pod in pods {
        found.extend(held(pod));
        found.extend(pod::of(pod, facts));
    }
    found
}

/// One that is on its way out, and waits for those who are to finish with it.
fn held(object: &Value) -> Option<Finding> {
    let meta = object.at("metadata");
    let (since, holders) = (meta.text("deletionTimestamp"), meta.list("finalizers"));
    if since.is_empty() || holders.is_empty() {
        return None;
    }
    let holders: Vec<&str> = meta.texts("finalizers").collect();
    let what = format!(
        "{} is being deleted since {since} and is held by its finalizers: {}",
        name(object),
        holders.join(", ")
    );
    let next = format!("skiff describe {}", name(object));
    Some(Finding::new(what, next, false))
}

fn of_status(object: &Value, pods: &[Value], facts: &Facts) -> Vec<Finding> {
    match object.text("kind") {
        "Pod" => pod::of(object, facts),
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
        "Service" => leads::of_service(object, pods),
        "Ingress" => leads::of_ingress(object, facts),
        "PersistentVolumeClaim" => leads::of_claim(object, facts),
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
    }
}

/// The command that shows more of what a message tells of, or makes what it misses; empty for none.
pub fn mend(message: &str, namespace: &str) -> String {
    for (kind, make) in [("configmap", "configmap"), ("secret", "secret generic")] {
        if let Some(missing) = missing(message, kind) {
            return format!("skiff create {make} {missing} -n {namespace}");
        }
    }
    match message.contains("exceeded quota") {
        true => format!("skiff describe quota -n {namespace}"),
        false => String::new(),
    }
}

/// The object of a kind that a message says is not found.
fn missing<'m>(message: &'m str, kind: &str) -> Option<&'m str> {
    let (_, rest) = message.split_once(&format!("{kind} \""))?;
    let (name, rest) = rest.split_once('"')?;
    rest.starts_with(" not found").then_some(name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_the_matter() {
        let none = Facts::default();
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
            let found = of(&waiting(reason), &[], &none);
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
        assert!(of(&waiting("ContainerCreating"), &[], &none).is_empty());
        let job = json!({"kind": "Job", "metadata": {"name": "j"}, "status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded", "message": "too often"}]}});
        let found = of(&job, &[], &none);
        assert_eq!(
            found[0].what,
            "job/j: Failed: BackoffLimitExceeded: too often"
        );
        assert!(found[0].hopeless);
        let failed = json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "n"}, "status": {"phase": "Failed", "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}]}});
        let found = of(&failed, &[], &none);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].what, "pod/p: container c ended with 3 (Error)");
        assert!(found[0].hopeless && found[0].log.is_some());
        let evicted = json!({"kind": "Pod", "metadata": {"name": "p"}, "status": {"phase": "Failed", "reason": "Evicted"}});
        assert_eq!(of(&evicted, &[], &none)[0].what, "pod/p failed: Evicted");
        let service = json!({"kind": "Service", "metadata": {"name": "s", "namespace": "n"}, "spec": {"selector": {"app": "a", "tier": "b"}}});
        let found = of(&service, &[], &none);
        assert_eq!(
            found[0].what,
            "service/s: no pod has its labels: app=a,tier=b"
        );
        assert!(
            of(
                &service,
                &[json!({"kind": "Pod", "metadata": {"name": "p"}})],
                &none
            )
            .is_empty()
        );
        let claim = |phase: &str| json!({"kind": "PersistentVolumeClaim", "metadata": {"name": "c"}, "spec": {"volumeName": "v"}, "status": {"phase": phase}});
        let said = |phase: &str| of(&claim(phase), &[], &none).pop().map(|found| found.what);
        assert_eq!(said("Bound"), None);
        let pending = said("Pending").unwrap();
        assert_eq!(pending, "persistentvolumeclaim/c has no volume yet");
        let lost = said("Lost").unwrap();
        assert_eq!(lost, "persistentvolumeclaim/c has lost its volume v");
        let full = json!({"kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "status": {"conditions": [{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "pods \"d\" is forbidden: exceeded quota: q"}]}});
        assert_eq!(of(&full, &[], &none)[0].next, "skiff describe quota -n n");
    }
    #[test]
    fn held_by_finalizers() {
        let of = |meta: Value| {
            of(
                &json!({"kind": "Widget", "metadata": meta}),
                &[],
                &Facts::default(),
            )
        };
        let at = "2026-01-02T03:04:05Z";
        let found = of(json!({"name": "w", "deletionTimestamp": at, "finalizers": ["a/b", "c/d"]}));
        assert_eq!(
            found[0].what,
            "widget/w is being deleted since 2026-01-02T03:04:05Z and is held by its finalizers: a/b, c/d"
        );
        assert_eq!(found[0].next, "skiff describe widget/w");
        assert_eq!(of(json!({"name": "w", "finalizers": ["a/b"]})), []);
        assert_eq!(of(json!({"name": "w", "deletionTimestamp": at})), []);
    }

    #[test]
    fn what_mends() {
        for (message, wanted) in [
            (
                "MountVolume.SetUp failed for volume \"v\" : configmap \"c\" not found",
                "skiff create configmap c -n n",
            ),
            (
                "secret \"s\" not found",
                "skiff create secret generic s -n n",
            ),
            ("configmap \"c\" is forbidden", ""),
            (
                "pods \"d\" is forbidden: exceeded quota: q",
                "skiff describe quota -n n",
            ),
            ("other", ""),
        ] {
            assert_eq!(mend(message, "n"), wanted, "{message}");
        }
    }
}
