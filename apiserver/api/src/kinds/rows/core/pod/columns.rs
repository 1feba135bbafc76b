//! Pod: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::kinds::{
    Cell, Columns,
    cells::{
        NONE, age, column, condition, flag, human_duration, int, is_deleted, list, moment, name,
        row, text, text_or, wide,
    },
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "Ready",
            "string",
            "The aggregate readiness state of this pod for accepting traffic.",
        ),
        column(
            "Status",
            "string",
            "The aggregate status of the containers in this pod.",
        ),
        column(
            "Restarts",
            "string",
            "The number of times the containers in this pod have been restarted and when the last container in this pod has restarted.",
        ),
        AGE,
        wide(
            "IP",
            "string",
            "podIP address allocated to the pod. Routable at least within the cluster. Empty if not yet allocated.",
        ),
        wide(
            "Node",
            "string",
            "NodeName indicates in which node this pod is scheduled. If empty, this pod is a candidate for scheduling by the scheduler defined in schedulerName. Once this field is set, the kubelet for this node becomes responsible for the lifecycle of this pod. This field should not be used to express a desire for the pod to be scheduled on a specific node. https://kubernetes.io/docs/concepts/scheduling-eviction/assign-pod-node/#nodename",
        ),
        wide(
            "Nominated Node",
            "string",
            "nominatedNodeName is set only when this pod preempts other pods on the node, but it cannot be scheduled right away as preemption victims receive their graceful termination periods. This field does not guarantee that the pod will be scheduled on this node. Scheduler may decide to place the pod elsewhere if other nodes become available sooner. Scheduler may also decide to give the resources on this node to a higher priority pod that is created after preemption. As a result, this field may be different than PodSpec.nodeName when the pod is scheduled.",
        ),
        wide(
            "Readiness Gates",
            "string",
            "If specified, all readiness gates will be evaluated for pod readiness. A pod is ready when all its containers are ready AND all conditions specified in the readiness gates have status equal to \"True\" More info: https://git.k8s.io/enhancements/keps/sig-network/580-pod-readiness-gates",
        ),
    ],
    cells,
    conditions,
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let state = State::of(object);
    let restarts = match state.last_restart {
        Some(at) if state.restarts != 0 => format!(
            "{} ({} ago)",
            state.restarts,
            human_duration(now.duration_since(at))
        ),
        _ => state.restarts.to_string(),
    };
    let ip = text_or(&status["podIP"], text(&status["podIPs"][0]["ip"]));
    row![
        name(object),
        format!("{}/{}", state.ready, state.containers),
        state.reason,
        restarts,
        age(object, now),
        if ip.is_empty() { NONE } else { ip },
        text_or(&spec["nodeName"], NONE),
        text_or(&status["nominatedNodeName"], NONE),
        readiness_gates(object),
    ]
}

/// A pod that ended is `Completed`, so that clients may leave it out.
fn conditions(object: &Value) -> Vec<Value> {
    let completed = |reason: &str, message: &str| {
        vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
    };
    match text(&object["status"]["phase"]) {
        "Succeeded" => completed("Succeeded", "The pod has completed successfully."),
        "Failed" => completed("Failed", "The pod failed."),
        _ => Vec::new(),
    }
}

/// How many of the gates' conditions are true.
fn readiness_gates(pod: &Value) -> String {
    let gates = list(&pod["spec"]["readinessGates"]);
    let open = gates
        .iter()
        .filter(|gate| is_true(pod, text(&gate["conditionType"])))
        .count();
    if gates.is_empty() {
        NONE.to_string()
    } else {
        format!("{open}/{}", gates.len())
    }
}

fn is_true(pod: &Value, of_type: &str) -> bool {
    condition(pod, of_type).is_some_and(|condition| condition["status"] == "True")
}

/// What a pod's container statuses add up to.
#[derive(Debug)]
struct State {
    /// Containers that serve, out of `containers` (sidecars are counted, other init containers are not).
    ready: usize,
    containers: usize,
    /// The one word that tells most about the pod.
    reason: String,
    restarts: i64,
    last_restart: Option<Timestamp>,
}

impl State {
    fn of(pod: &Value) -> State {
        let (spec, status) = (&pod["spec"], &pod["status"]);
        let sidecars = list(&spec["initContainers"])
            .iter()
            .filter(|container| is_sidecar(container))
            .count();
        let gated = list(&status["conditions"])
            .iter()
            .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
        let reason = if gated {
            "SchedulingGated"
        } else {
            text_or(&status["reason"], text(&status["phase"]))
        };
        let containers = list(&spec["containers"]).len() + sidecars;
        let mut state = State {
            ready: 0,
            containers,
            reason: reason.to_string(),
            restarts: 0,
            last_restart: None,
        };
        let initializing = state.initialize(pod);
        if !initializing || is_true(pod, "Initialized") {
            state.restarts_of_sidecars(pod);
            state.run(pod);
        }
        if is_deleted(pod) && status["reason"] == "NodeLost" {
            state.reason = "Unknown".to_string();
        } else if is_deleted(pod) && !matches!(text(&status["phase"]), "Succeeded" | "Failed") {
            state.reason = "Terminating".to_string();
        }
        state
    }

    /// Walks the init containers up to the first that is not through; true when there is one.
    fn initialize(&mut self, pod: &Value) -> bool {
        let specs = list(&pod["spec"]["initContainers"]);
        for (index, status) in list(&pod["status"]["initContainerStatuses"])
            .iter()
            .enumerate()
        {
            self.count_restarts(status);
            let (terminated, waiting) = (
                &status["state"]["terminated"],
                text(&status["state"]["waiting"]["reason"]),
            );
            if !terminated.is_null() && int(&terminated["exitCode"]) == 0 {
                continue;
            }
            if is_sidecar_status(specs, status) && flag(&status["started"]) {
                self.ready += usize::from(flag(&status["ready"]));
                continue;
            }
            self.reason = match () {
                () if !terminated.is_null() => format!("Init:{}", ended(terminated)),
                () if !matches!(waiting, "" | "PodInitializing") => format!("Init:{waiting}"),
                () => format!("Init:{index}/{}", specs.len()),
            };
            return true;
        }
        false
    }

    /// Once a pod is initialized, the restarts of plain init containers are of no more interest.
    fn restarts_of_sidecars(&mut self, pod: &Value) {
        (self.restarts, self.last_restart) = (0, None);
        let specs = list(&pod["spec"]["initContainers"]);
        let mut reached = list(&pod["status"]["initContainerStatuses"]).iter();
        for status in reached.by_ref() {
            if is_sidecar_status(specs, status) {
                self.count_restarts(status);
            }
            let (terminated, started) = (
                &status["state"]["terminated"],
                is_sidecar_status(specs, status) && flag(&status["started"]),
            );
            if !started && (terminated.is_null() || int(&terminated["exitCode"]) != 0) {
                break;
            }
        }
    }

    /// Walks the containers from the last to the first: the first one that waits or ended names the reason.
    fn run(&mut self, pod: &Value) {
        let (mut running, mut failure) = (false, None);
        for status in list(&pod["status"]["containerStatuses"]).iter().rev() {
            self.count_restarts(status);
            let (terminated, waiting) = (
                &status["state"]["terminated"],
                text(&status["state"]["waiting"]["reason"]),
            );
            if !waiting.is_empty() {
                self.reason = waiting.to_string();
            } else if !terminated.is_null() {
                self.reason = ended(terminated);
                if int(&terminated["exitCode"]) != 0 {
                    failure = Some(self.reason.clone());
                }
            } else if flag(&status["ready"]) && !status["state"]["running"].is_null() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            match failure {
                _ if running
                    && list(&pod["status"]["conditions"])
                        .iter()
                        .any(|c| c["type"] == "Ready" && c["status"] == "True") =>
                {
                    self.reason = "Running".to_string();
                }
                Some(failure) => self.reason = failure,
                None if running => self.reason = "NotReady".to_string(),
                None => {}
            }
        }
    }

    fn count_restarts(&mut self, status: &Value) {
        self.restarts += int(&status["restartCount"]);
        self.last_restart = self
            .last_restart
            .max(moment(&status["lastState"]["terminated"]["finishedAt"]));
    }
}

/// How a container ended: its reason, or else its signal or exit code.
fn ended(terminated: &Value) -> String {
    match (text(&terminated["reason"]), int(&terminated["signal"])) {
        ("", 0) => format!("ExitCode:{}", int(&terminated["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_string(),
    }
}

/// An init container that keeps running beside the others.
fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn is_sidecar_status(specs: &[Value], status: &Value) -> bool {
    specs
        .iter()
        .rfind(|container| container["name"] == status["name"])
        .is_some_and(is_sidecar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(phase: &str, status: Value) -> Value {
        let mut pod = json!({
            "metadata": {"name": "p", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "initContainers": [{"name": "prepare"}, {"name": "proxy", "restartPolicy": "Always"}],
                "containers": [{"name": "a"}, {"name": "b"}]
            },
            "status": status
        });
        pod["status"]["phase"] = phase.into();
        pod
    }

    fn shown(pod: &Value) -> String {
        let now = "2026-01-01T01:00:00Z".parse().unwrap();
        cells(pod, now)[1..5]
            .iter()
            .map(text)
            .collect::<Vec<_>>()
            .join(" ")
    }

    #[test]
    fn columns_of_pods() {
        let ended = |code: i64, reason: &str| json!({"state": {"terminated": {"exitCode": code, "reason": reason}}});
        let running = || json!({"ready": true, "state": {"running": {}}});
        let restarted = |name: &str, at: &str| json!({"name": name, "ready": true, "started": true, "restartCount": 1, "state": {"running": {}}, "lastState": {"terminated": {"exitCode": 1, "finishedAt": at}}});
        let prepared =
            json!({"name": "prepare", "restartCount": 4, "state": {"terminated": {"exitCode": 0}}});
        let cases = [
            (pod("Pending", json!({})), "0/3 Pending 0 60m"),
            (
                pod(
                    "Pending",
                    json!({"conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]}),
                ),
                "0/3 SchedulingGated 0 60m",
            ),
            (
                pod(
                    "Pending",
                    json!({"initContainerStatuses": [prepared, {"name": "proxy", "state": {"waiting": {"reason": "PodInitializing"}}}]}),
                ),
                "0/3 Init:1/2 4 60m",
            ),
            (
                pod(
                    "Pending",
                    json!({"initContainerStatuses": [{"name": "prepare", "state": {"terminated": {"exitCode": 2, "signal": 9}}}]}),
                ),
                "0/3 Init:Signal:9 0 60m",
            ),
            (
                pod(
                    "Running",
                    json!({"initContainerStatuses": [prepared, restarted("proxy", "2026-01-01T00:57:00Z")], "containerStatuses": [running(), restarted("b", "2026-01-01T00:50:00Z")]}),
                ),
                "3/3 Running 2 (3m ago) 60m",
            ),
            (
                pod(
                    "Running",
                    json!({"containerStatuses": [ended(0, "Completed"), running()], "conditions": [{"type": "Ready", "status": "True"}]}),
                ),
                "1/3 Running 0 60m",
            ),
            (
                pod(
                    "Running",
                    json!({"containerStatuses": [ended(0, "Completed"), running()]}),
                ),
                "1/3 NotReady 0 60m",
            ),
            (
                pod(
                    "Failed",
                    json!({"containerStatuses": [ended(0, "Completed"), ended(1, "Error")]}),
                ),
                "0/3 Error 0 60m",
            ),
            (
                pod("Failed", json!({"reason": "Evicted"})),
                "0/3 Evicted 0 60m",
            ),
        ];
        for (pod, expected) in cases {
            assert_eq!(shown(&pod), expected, "{pod}");
        }
    }

    #[test]
    fn columns_of_deleted_pods() {
        let mut pod = pod(
            "Running",
            json!({"containerStatuses": [{"ready": true, "state": {"running": {}}}]}),
        );
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:59:00Z".into();
        assert_eq!(shown(&pod), "1/3 Terminating 0 60m");
        pod["status"]["reason"] = "NodeLost".into();
        assert_eq!(shown(&pod), "1/3 Unknown 0 60m");
    }
}
