//! What is the matter with a pod: that it has no node, that nobody starts it there, what its containers wait for and how they ended.
//! Invariant: an image's and a program's own words are shown only where there are any.
//! Behaviour follows nothing upstream: kubectl does not do this.

use serde_json::Value;

use super::facts::{Facts, Look, claims_of};
use super::finding::{Finding, because, mend, name};
use crate::typed::Read;

/// What holds a pod back before its containers are made.
const HOLDS: &[&str] = &[
    "FailedMount",
    "FailedAttachVolume",
    "FailedCreatePodSandBox",
];

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

/// The statuses of all of a pod's containers, and whether they are those of init containers.
fn containers(pod: &Value) -> impl Iterator<Item = (&Value, bool)> {
    let lists = [
        ("initContainerStatuses", true),
        ("containerStatuses", false),
    ];
    let of = move |(list, init)| pod.at("status").list(list).iter().map(move |c| (c, init));
    lists.into_iter().flat_map(of)
}

/// Whether a container of it runs or has run.
pub fn is_started(pod: &Value) -> bool {
    let started =
        |state: &Value| state.some("running").is_some() || state.some("terminated").is_some();
    containers(pod).any(|(c, _)| started(c.at("state")) || started(c.at("lastState")))
}

/// Whether it has not ended.
fn lives(pod: &Value) -> bool {
    !matches!(pod.at("status").text("phase"), "Succeeded" | "Failed")
}

/// Whether it has a node on which nobody has started it.
pub fn is_held(pod: &Value) -> bool {
    lives(pod) && !is_started(pod) && !pod.at("spec").text("nodeName").is_empty()
}

fn condition<'p>(object: &'p Value, kind: &str) -> Option<&'p Value> {
    let all = object.at("status").list("conditions");
    all.iter().find(|c| c.text("type") == kind)
}

/// What the scheduler says of a pod that it has no node for.
pub fn unscheduled(pod: &Value) -> Option<&Value> {
    condition(pod, "PodScheduled").filter(|c| c.text("status") == "False")
}

/// Since when all is well with a pod: since it is ready or has ended well, or since its containers were all started, none of them again.
pub fn is_well_since(pod: &Value) -> Option<&str> {
    if let Some(ready) = condition(pod, "Ready").filter(|c| c.text("status") == "True") {
        return Some(ready.text("lastTransitionTime"));
    }
    let of = pod.at("status").list("containerStatuses").iter();
    if pod.at("status").text("phase") == "Succeeded" {
        return of
            .map(|c| c.at("state").at("terminated").text("finishedAt"))
            .max();
    }
    let since = of.map(|c| match c.int("restartCount") {
        0 => c.at("state").at("running").text("startedAt"),
        _ => "",
    });
    let since: Vec<&str> = since.collect();
    let all = !since.contains(&"");
    since.into_iter().max().filter(|_| all)
}

/// What is the matter with a pod.
pub fn of(pod: &Value, facts: &Facts) -> Vec<Finding> {
    let (shown, status) = (name(pod), pod.at("status"));
    let failed = status.text("phase") == "Failed";
    let mut found = Vec::new();
    found.extend(unscheduled(pod).map(|c| no_node(pod, c, facts)));
    if is_held(pod) {
        found.extend(on_its_node(pod, facts).or_else(|| not_made(pod, facts)));
    }
    for (container, init) in containers(pod) {
        found.extend(of_container(pod, &shown, container, init));
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

fn no_node(pod: &Value, said: &Value, facts: &Facts) -> Finding {
    let mut what = format!("{} has no node: {}", name(pod), because(said));
    let gates = pod.at("spec").list("schedulingGates").iter();
    let gates: Vec<&str> = gates.map(|gate| gate.text("name")).collect();
    if said.text("reason") == "SchedulingGated" && !gates.is_empty() {
        what += &format!(": {}", gates.join(", "));
        return Finding::new(what, format!("skiff describe {}", name(pod)), false);
    }
    let message = said.text("message").to_lowercase();
    let about_claims =
        message.contains("persistentvolumeclaim") || message.contains("persistent volume");
    let namespace = pod.at("metadata").text("namespace");
    let unbound = claims_of(pod)
        .into_iter()
        .find_map(|claim| match facts.claims.get(&claim)? {
            Look::Gone => Some(format!("skiff get pvc -n {namespace}")),
            Look::Is(found) if found.at("status").text("phase") != "Bound" => {
                Some(format!("skiff why pvc/{claim} -n {namespace}"))
            }
            Look::Is(_) => None,
        });
    let next = unbound.filter(|_| about_claims);
    let next = next.unwrap_or_else(|| "skiff describe nodes".into());
    Finding::new(what, next, false)
}

/// The node may be why nobody starts it.
fn on_its_node(pod: &Value, facts: &Facts) -> Option<Finding> {
    let (shown, on) = (name(pod), pod.at("spec").text("nodeName"));
    let node = match facts.nodes.get(on)? {
        Look::Gone => {
            let what = format!("{shown}: its node {on} does not exist");
            return Some(Finding::new(what, "skiff get nodes".into(), false));
        }
        Look::Is(node) => node,
    };
    let next = format!("skiff describe node {on}");
    if node.at("spec").text("podCIDR").is_empty()
        && let Some(event) = facts.last("Node", on, |reason| reason == "CIDRNotAvailable")
    {
        let what = format!(
            "{shown}: its node {on} has no addresses for pods: {}",
            because(event)
        );
        return Some(Finding::new(what, next, false));
    }
    let ready = condition(node, "Ready").filter(|c| c.text("status") != "True")?;
    let what = format!("{shown}: its node {on} is not ready: {}", because(ready));
    Some(Finding::new(what, next, false))
}

/// What its containers cannot be made without.
fn not_made(pod: &Value, facts: &Facts) -> Option<Finding> {
    let waits = |c: &Value| {
        WAITS
            .iter()
            .any(|(known, _)| *known == c.at("state").at("waiting").text("reason"))
    };
    if containers(pod).any(|(c, _)| waits(c)) {
        return None;
    }
    let meta = pod.at("metadata");
    let event = facts.last("Pod", meta.text("name"), |reason| HOLDS.contains(&reason))?;
    if event.at("involvedObject").text("uid") != meta.text("uid") {
        return None;
    }
    let next = mend(event.text("message"), meta.text("namespace"));
    let next = match next.as_str() {
        "" => format!("skiff describe {}", name(pod)),
        _ => next,
    };
    Some(Finding::new(
        format!("{}: {}", name(pod), because(event)),
        next,
        false,
    ))
}

/// Whether a program ran at all: what could not be started wrote nothing.
fn ran(ended: &Value) -> bool {
    !matches!(ended.text("reason"), "StartError" | "ContainerCannotRun")
}

/// How a container ended, with why it could not be started.
fn ending(ended: &Value) -> String {
    let how = format!(
        "ended with {} ({})",
        ended.int("exitCode"),
        ended.text("reason")
    );
    match ended.text("message").trim() {
        message if !ran(ended) && !message.is_empty() => format!("{how}: {message}"),
        _ => how,
    }
}

fn of_container(object: &Value, pod: &str, status: &Value, init: bool) -> Option<Finding> {
    let container = status.text("name");
    let shown = format!("{pod}: container {container}");
    let describe = format!("skiff describe {pod}");
    let waiting = status.at("state").at("waiting");
    if let Some((_, hopeless)) = WAITS
        .iter()
        .find(|(known, _)| *known == waiting.text("reason"))
    {
        return Some(waits(object, pod, status, *hopeless));
    }
    let ended = status.at("state").at("terminated");
    if ended.int("exitCode") != 0 {
        let what = format!("{shown} {}", ending(ended));
        if !ran(ended) {
            return Some(Finding::new(what, describe, false));
        }
        let next = format!("skiff logs {pod} -c {container}");
        return Some(Finding::new(what, next, false).with_log(object, container, false));
    }
    let runs = status.at("state").some("running")?;
    if init && !is_sidecar(object, container) {
        let what = format!(
            "{shown}: an init container, which still runs, since {}",
            runs.text("startedAt")
        );
        let next = format!("skiff logs {pod} -c {container}");
        return Some(Finding::new(what, next, false).with_log(object, container, false));
    }
    if status.flag("ready") {
        return None;
    }
    let probe = match status.flag_ptr("started") {
        Some(false) => "startup",
        _ => "readiness",
    };
    let what = format!("{shown} runs and is not ready: its {probe} probe has not succeeded");
    Some(Finding::new(what, describe, false))
}

fn waits(object: &Value, pod: &str, status: &Value, hopeless: bool) -> Finding {
    let (container, waiting) = (status.text("name"), status.at("state").at("waiting"));
    let (reason, message) = (waiting.text("reason"), waiting.text("message"));
    let what = |detail: &str| format!("{pod}: container {container}: {reason}: {detail}");
    let describe = format!("skiff describe {pod}");
    if reason == "CrashLoopBackOff" {
        let ended = status.at("lastState").at("terminated");
        let times = status.int("restartCount");
        let what = what(&format!("{}, {times} times so far", ending(ended)));
        if !ran(ended) {
            return Finding::new(what, describe, hopeless);
        }
        let next = format!("skiff logs {pod} -c {container} --previous");
        return Finding::new(what, next, hopeless).with_log(object, container, true);
    }
    if reason.contains("Image") {
        let detail = format!("image {}: {message}", status.text("image"));
        return Finding::new(what(&detail), describe, hopeless);
    }
    let next = match mend(message, object.at("metadata").text("namespace")) {
        next if next.is_empty() => describe,
        next => next,
    };
    Finding::new(what(message), next, hopeless)
}

/// Whether an init container is one that runs beside the others.
fn is_sidecar(pod: &Value, container: &str) -> bool {
    let all = pod.at("spec").list("initContainers").iter();
    let mut of = all.filter(|c| c.text("name") == container);
    of.any(|c| c.text("restartPolicy") == "Always")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A pod on a node, with what differs.
    fn pod(changes: Value) -> Value {
        let mut pod = json!({"kind": "Pod", "metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {"nodeName": "a"}, "status": {"phase": "Pending"}});
        skiff_api::machinery::patch::merge::apply(&mut pod, changes, false).unwrap();
        pod
    }

    fn event(kind: &str, name: &str, reason: &str, message: &str, at: &str) -> Value {
        json!({"involvedObject": {"kind": kind, "name": name, "uid": "u"}, "reason": reason, "message": message, "lastTimestamp": at})
    }

    fn creating() -> Value {
        pod(
            json!({"status": {"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}]}}),
        )
    }

    #[test]
    fn what_it_cannot_be_started_without() {
        let last = "2026-01-01T00:00:09Z";
        let node = |ready: &str, cidr: &str| {
            Look::Is(
                json!({"spec": {"podCIDR": cidr}, "status": {"conditions": [{"type": "Ready", "status": ready, "reason": "R", "message": "m"}]}}),
            )
        };
        for (node, events, wanted, next) in [
            (node("True", "10.0.0.0/24"), vec![], None, ""),
            (
                node("True", "10.0.0.0/24"),
                vec![
                    event("Pod", "p", "FailedMount", "secret \"s\" not found", last),
                    event(
                        "Pod",
                        "p",
                        "FailedMount",
                        "configmap \"c\" not found",
                        "2026-01-01T00:00:01Z",
                    ),
                    event("Pod", "q", "FailedMount", "other", "2026-01-01T00:00:10Z"),
                ],
                Some("pod/p: FailedMount: secret \"s\" not found"),
                "skiff create secret generic s -n n",
            ),
            (
                node("True", "10.0.0.0/24"),
                vec![event(
                    "Pod",
                    "p",
                    "FailedMount",
                    "hostPath type check failed: /x is not a directory",
                    last,
                )],
                Some("pod/p: FailedMount: hostPath type check failed: /x is not a directory"),
                "skiff describe pod/p",
            ),
            (
                Look::Gone,
                vec![],
                Some("pod/p: its node a does not exist"),
                "skiff get nodes",
            ),
            (
                node("False", ""),
                vec![event("Node", "a", "CIDRNotAvailable", "full", last)],
                Some("pod/p: its node a has no addresses for pods: CIDRNotAvailable: full"),
                "skiff describe node a",
            ),
            (
                node("False", ""),
                vec![],
                Some("pod/p: its node a is not ready: R: m"),
                "skiff describe node a",
            ),
        ] {
            let facts = Facts {
                nodes: [("a".to_string(), node)].into(),
                events,
                ..Facts::default()
            };
            let found = of(&creating(), &facts);
            assert_eq!(found.first().map(|found| &*found.what), wanted);
            assert_eq!(found.first().map_or("", |found| &*found.next), next);
            assert!(found.len() < 2);
            // nothing of that is the matter with one that runs
            let runs = json!({"status": {"phase": "Running", "containerStatuses": [{"name": "c", "ready": true, "state": {"running": {}}}]}});
            assert_eq!(of(&pod(runs), &facts), []);
        }
    }

    #[test]
    fn why_it_has_no_node() {
        let scheduled = |reason: &str, message: &str| {
            json!({"spec": {"nodeName": null, "schedulingGates": [{"name": "a"}, {"name": "b"}], "volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]},
            "status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": reason, "message": message}]}})
        };
        let unbound = "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims.";
        let bound = |phase: &str| Some(Look::Is(json!({"status": {"phase": phase}})));
        for (reason, message, claim, what, next) in [
            (
                "SchedulingGated",
                "blocked",
                None,
                "pod/p has no node: SchedulingGated: blocked: a, b",
                "skiff describe pod/p",
            ),
            (
                "Unschedulable",
                "Insufficient cpu",
                bound("Pending"),
                "pod/p has no node: Unschedulable: Insufficient cpu",
                "skiff describe nodes",
            ),
            (
                "Unschedulable",
                unbound,
                bound("Pending"),
                "",
                "skiff why pvc/c -n n",
            ),
            (
                "Unschedulable",
                unbound,
                bound("Bound"),
                "",
                "skiff describe nodes",
            ),
            ("Unschedulable", unbound, None, "", "skiff describe nodes"),
            (
                "Unschedulable",
                "persistentvolumeclaim \"c\" not found",
                Some(Look::Gone),
                "",
                "skiff get pvc -n n",
            ),
        ] {
            let facts = Facts {
                claims: claim
                    .map(|claim| ("c".to_string(), claim))
                    .into_iter()
                    .collect(),
                ..Facts::default()
            };
            let found = of(&pod(scheduled(reason, message)), &facts);
            assert!(what.is_empty() || found[0].what == what, "{found:?}");
            assert_eq!((found.len(), &*found[0].next), (1, next), "{message}");
        }
    }

    #[test]
    fn containers_that_run_and_end() {
        let running = json!({"running": {"startedAt": "2026-01-01T00:00:01Z"}});
        let start_error = json!({"terminated": {"exitCode": 128, "reason": "StartError", "message": "no such file"}});
        let init = |changes: Value| json!({"initContainerStatuses": [changes]});
        let main = |changes: Value| json!({"containerStatuses": [changes]});
        let back_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        for (status, policy, what, next, log) in [
            (
                init(json!({"name": "i", "state": running})),
                "",
                "pod/p: container i: an init container, which still runs, since 2026-01-01T00:00:01Z",
                "skiff logs pod/p -c i",
                true,
            ),
            (
                init(json!({"name": "i", "state": running, "started": false})),
                "Always",
                "pod/p: container i runs and is not ready: its startup probe has not succeeded",
                "skiff describe pod/p",
                false,
            ),
            (
                main(json!({"name": "c", "state": running, "started": true})),
                "",
                "pod/p: container c runs and is not ready: its readiness probe has not succeeded",
                "skiff describe pod/p",
                false,
            ),
            (
                main(json!({"name": "c", "state": start_error})),
                "",
                "pod/p: container c ended with 128 (StartError): no such file",
                "skiff describe pod/p",
                false,
            ),
            (
                main(
                    json!({"name": "c", "restartCount": 2, "state": back_off, "lastState": start_error}),
                ),
                "",
                "pod/p: container c: CrashLoopBackOff: ended with 128 (StartError): no such file, 2 times so far",
                "skiff describe pod/p",
                false,
            ),
            (
                main(
                    json!({"name": "c", "state": {"waiting": {"reason": "CreateContainerConfigError", "message": "secret \"s\" not found"}}}),
                ),
                "",
                "pod/p: container c: CreateContainerConfigError: secret \"s\" not found",
                "skiff create secret generic s -n n",
                false,
            ),
        ] {
            let changes = json!({"status": status, "spec": {"initContainers": [{"name": "i", "restartPolicy": policy}]}});
            let found = of(&pod(changes), &Facts::default());
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(
                (&*found[0].what, &*found[0].next, found[0].log.is_some()),
                (what, next, log)
            );
        }
    }

    #[test]
    fn since_when_it_is_well() {
        let status = |ready: &str, restarts: u8| {
            pod(json!({"status": {
            "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": "2026-01-01T00:00:05Z"}],
            "containerStatuses": [{"restartCount": restarts, "state": {"running": {"startedAt": "2026-01-01T00:00:02Z"}}}]}}))
        };
        for (of, wanted) in [
            (status("True", 3), Some("2026-01-01T00:00:05Z")),
            (status("False", 0), Some("2026-01-01T00:00:02Z")),
            (status("False", 1), None),
            (
                pod(
                    json!({"status": {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"finishedAt": "2026-01-01T00:00:03Z"}}}]}}),
                ),
                Some("2026-01-01T00:00:03Z"),
            ),
            (creating(), None),
            (pod(json!({})), None),
        ] {
            assert_eq!(is_well_since(&of), wanted, "{of}");
        }
    }
}
