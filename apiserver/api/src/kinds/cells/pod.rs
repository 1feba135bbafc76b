//! The cells of a pod, and the condition of its row.
//!
//! Follows `pkg/printers/internalversion/printers.go` (printPod).

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Make, Makers, NONE, Of, human_duration, is_true, makers, moment, or};
use crate::{
    kinds::Cell,
    machinery::{meta::Meta, read::Read},
};

pub(super) const MAKERS: Makers = makers! { of;
    "pod.address" => or(or(of.at.text("podIP"), of.at.list("podIPs").first().map_or("", |first| first.text("ip"))), NONE),
    "pod.gates" => readiness_gates(of.object),
};

pub(super) const JOINT: Makers = &[("pod.state", Make::Many(state))];

/// Ready, Status, Restarts.
fn state(of: &Of<'_>) -> Vec<Cell> {
    let state = State::of(of.object);
    let restarts = match state.last_restart {
        Some(at) if state.restarts != 0 => format!(
            "{} ({} ago)",
            state.restarts,
            human_duration(of.now.duration_since(at))
        ),
        _ => state.restarts.to_string(),
    };
    let ready = format!("{}/{}", state.ready, state.containers);
    vec![ready.into(), state.reason.into(), restarts.into()]
}

/// A pod that ended is `Completed`, so that clients may leave it out.
pub fn conditions(object: &Value) -> Vec<Value> {
    let completed = |reason: &str, message: &str| {
        vec![json!({"type": "Completed", "status": "True", "reason": reason, "message": message})]
    };
    match object.at("status").text("phase") {
        "Succeeded" => completed("Succeeded", "The pod has completed successfully."),
        "Failed" => completed("Failed", "The pod failed."),
        _ => Vec::new(),
    }
}

/// How many of the gates' conditions are true.
fn readiness_gates(pod: &Value) -> String {
    let gates = pod.at("spec").list("readinessGates");
    let open = gates
        .iter()
        .filter(|gate| is_true(pod, gate.text("conditionType")))
        .count();
    if gates.is_empty() {
        NONE.to_string()
    } else {
        format!("{open}/{}", gates.len())
    }
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
        let (spec, status) = (pod.at("spec"), pod.at("status"));
        let sidecars = spec
            .list("initContainers")
            .iter()
            .filter(|container| is_sidecar(container))
            .count();
        let gated = status
            .list("conditions")
            .iter()
            .any(|c| c.text("type") == "PodScheduled" && c.text("reason") == "SchedulingGated");
        let reason = if gated {
            "SchedulingGated"
        } else {
            or(status.text("reason"), status.text("phase"))
        };
        let containers = spec.list("containers").len() + sidecars;
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
        if pod.is_deleting() && status.text("reason") == "NodeLost" {
            state.reason = "Unknown".to_string();
        } else if pod.is_deleting() && !matches!(status.text("phase"), "Succeeded" | "Failed") {
            state.reason = "Terminating".to_string();
        }
        state
    }

    /// Walks the init containers up to the first that is not through; true when there is one.
    fn initialize(&mut self, pod: &Value) -> bool {
        let specs = pod.at("spec").list("initContainers");
        for (index, status) in pod
            .at("status")
            .list("initContainerStatuses")
            .iter()
            .enumerate()
        {
            self.count_restarts(status);
            let (terminated, waiting) = (
                status.at("state").at("terminated"),
                status.at("state").at("waiting").text("reason"),
            );
            if !terminated.is_null() && terminated.int("exitCode") == 0 {
                continue;
            }
            if is_sidecar_status(specs, status) && status.flag("started") {
                self.ready += usize::from(status.flag("ready"));
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
        let specs = pod.at("spec").list("initContainers");
        let mut reached = pod.at("status").list("initContainerStatuses").iter();
        for status in reached.by_ref() {
            if is_sidecar_status(specs, status) {
                self.count_restarts(status);
            }
            let (terminated, started) = (
                status.at("state").at("terminated"),
                is_sidecar_status(specs, status) && status.flag("started"),
            );
            if !started && (terminated.is_null() || terminated.int("exitCode") != 0) {
                break;
            }
        }
    }

    /// Walks the containers from the last to the first: the first one that waits or ended names the reason.
    fn run(&mut self, pod: &Value) {
        let (mut running, mut failure) = (false, None);
        for status in pod.at("status").list("containerStatuses").iter().rev() {
            self.count_restarts(status);
            let (terminated, waiting) = (
                status.at("state").at("terminated"),
                status.at("state").at("waiting").text("reason"),
            );
            if !waiting.is_empty() {
                self.reason = waiting.to_string();
            } else if !terminated.is_null() {
                self.reason = ended(terminated);
                if terminated.int("exitCode") != 0 {
                    failure = Some(self.reason.clone());
                }
            } else if status.flag("ready") && status.at("state").some("running").is_some() {
                running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" {
            match failure {
                _ if running
                    && pod
                        .at("status")
                        .list("conditions")
                        .iter()
                        .any(|c| c.text("type") == "Ready" && c.text("status") == "True") =>
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
        self.restarts += status.int("restartCount");
        self.last_restart = self.last_restart.max(moment(
            status.at("lastState").at("terminated").at("finishedAt"),
        ));
    }
}

/// How a container ended: its reason, or else its signal or exit code.
fn ended(terminated: &Value) -> String {
    match (terminated.text("reason"), terminated.int("signal")) {
        ("", 0) => format!("ExitCode:{}", terminated.int("exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_string(),
    }
}

/// An init container that keeps running beside the others.
fn is_sidecar(container: &Value) -> bool {
    container.text("restartPolicy") == "Always"
}

fn is_sidecar_status(specs: &[Value], status: &Value) -> bool {
    specs
        .iter()
        .rfind(|container| container.text("name") == status.text("name"))
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
        let registry = crate::kinds::Registry::builtin();
        let kind = registry.find("", "v1", "pods").unwrap();
        let cells = kind.printer.cells(pod, now);
        let read = kind.printer.parts().keep(pod);
        assert_eq!(kind.printer.cells(&read, now), cells, "{pod}");
        assert_eq!(conditions(&read), conditions(pod));
        let texts: Vec<&str> = cells[1..5].iter().filter_map(Value::as_str).collect();
        texts.join(" ")
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
