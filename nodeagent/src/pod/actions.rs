//! What to do next for a pod: which containers to start and which to kill.
//!
//! Invariant: pure; init containers start one after the other, regular ones only after the last of them.
//! Follows `computePodActions` in `pkg/kubelet/kuberuntime/kuberuntime_manager.go`.

use std::collections::HashMap;

use k8s_openapi::api::core::v1::{Container, Pod};

use super::{
    containers::{any_regular_created, should_be_started},
    names::{self, spec},
    view::{PodView, Sandbox, annotation},
};
use crate::{
    pod::resize::plan::{self, Fate, Steps},
    probe::state::Results,
    runtime::{ContainerPhase, ContainerState},
};

/// Why a container is killed, as far as its grace period depends on that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KillReason {
    /// The probe's own `terminationGracePeriodSeconds` counts.
    LivenessProbe,
    StartupProbe,
    Other,
}

/// A container to kill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kill {
    pub id: String,
    pub name: String,
    pub message: String,
    pub reason: KillReason,
}

/// What to do, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Actions {
    /// Kill everything, the sandbox too.
    pub kill_pod: bool,
    pub create_sandbox: bool,
    pub kill: Vec<Kill>,
    /// Remove all containers, because one of them ended so that all are to run anew.
    pub reset: bool,
    /// Names of containers to start.
    pub ephemeral: Vec<String>,
    pub init: Vec<String>,
    pub regular: Vec<String>,
    /// Changes of what runs.
    pub resize: Steps,
}

/// Computes the actions. `restarting`: all containers are being removed in order to run anew.
pub fn compute(
    pod: &Pod,
    view: &PodView,
    probes: &HashMap<String, Results>,
    restarting: bool,
) -> Actions {
    let mut actions = Actions::default();
    if restarting && pod.metadata.deletion_timestamp.is_none() {
        return Actions {
            reset: true,
            ..actions
        };
    }
    match view.sandbox() {
        Sandbox::Ready(_) => {}
        missing => {
            without_sandbox(pod, view, missing == Sandbox::Lost, &mut actions);
            return actions;
        }
    }
    for container in spec(pod).ephemeral_containers.iter().flatten() {
        if view.container(&container.name).is_none() {
            actions.ephemeral.push(container.name.clone());
        }
    }
    if !init(pod, view, probes, &mut actions) || actions.kill_pod {
        return actions;
    }
    regular(pod, view, probes, &mut actions);
    actions.resize.pod_level = plan::pod_level(pod, view);
    actions
}

fn without_sandbox(pod: &Pod, view: &PodView, lost: bool, actions: &mut Actions) {
    let spec = spec(pod);
    actions.kill_pod = lost;
    actions.create_sandbox = true;
    if spec.restart_policy.as_deref() == Some("Never") && lost && !view.containers.is_empty() {
        actions.create_sandbox = false;
        return;
    }
    let once = |container: &Container| {
        container
            .restart_policy
            .as_deref()
            .or(spec.restart_policy.as_deref())
            == Some("OnFailure")
    };
    let succeeded = |container: &Container| {
        view.container(&container.name).is_some_and(|state| {
            state.phase == ContainerPhase::Exited && state.exit_code == Some(0)
        })
    };
    let start: Vec<String> = spec
        .containers
        .iter()
        .filter(|container| !(once(container) && succeeded(container)))
        .map(|container| container.name.clone())
        .collect();
    if start.is_empty() && any_regular_created(pod, view) {
        actions.create_sandbox = false;
        return;
    }
    match spec.init_containers.iter().flatten().next() {
        Some(first) => actions.init.push(first.name.clone()),
        None => actions.regular = start,
    }
}

/// Whether the containers of the present sandbox have got past their init containers.
fn is_initialized(pod: &Pod, view: &PodView) -> bool {
    let alive = |state: &ContainerState| {
        matches!(
            state.phase,
            ContainerPhase::Created | ContainerPhase::Running
        )
    };
    spec(pod)
        .containers
        .iter()
        .any(|container| view.container(&container.name).is_some_and(alive))
}

/// Init containers, last to first. Whether all are done.
fn init(
    pod: &Pod,
    view: &PodView,
    probes: &HashMap<String, Results>,
    actions: &mut Actions,
) -> bool {
    let containers = spec(pod).init_containers.as_deref().unwrap_or_default();
    if containers.is_empty() {
        return true;
    }
    let mut done = is_initialized(pod, view);
    let mut later_done = done;
    for (index, container) in containers.iter().enumerate().rev() {
        let sidecar = names::is_sidecar(container);
        let Some(state) = view.container(&container.name) else {
            if later_done && sidecar {
                actions.init.push(container.name.clone());
            }
            continue;
        };
        if later_done && !sidecar {
            continue;
        }
        let mut pass = |actions: &mut Actions| match containers.get(index + 1) {
            None => done = true,
            Some(next) if !later_done => actions.init.push(next.name.clone()),
            Some(_) => {}
        };
        match state.phase {
            ContainerPhase::Created => actions.init.push(container.name.clone()),
            ContainerPhase::Running if sidecar => {
                sidecar_running(pod, container, state, probes, actions, &mut pass)
            }
            ContainerPhase::Running => {}
            ContainerPhase::Exited if sidecar => actions.init.push(container.name.clone()),
            ContainerPhase::Exited if state.exit_code == Some(0) => pass(actions),
            ContainerPhase::Exited if should_be_started(container, pod, view) => {
                actions.init.push(container.name.clone())
            }
            ContainerPhase::Exited => {
                actions.kill_pod = true;
                actions.init.clear();
                return false;
            }
        }
        if !later_done {
            later_done = true;
            if !done {
                // The earlier ones have run: of those only sidecars are looked after.
                keep_sidecars(containers, index, view, actions);
                return false;
            }
        }
    }
    if !view.containers.iter().any(|state| {
        containers
            .iter()
            .any(|container| container.name == state.name)
    }) && !done
    {
        actions.init.push(containers[0].name.clone());
    }
    done
}

/// Starts sidecars before `index` that have stopped, while later init containers still run.
fn keep_sidecars(containers: &[Container], index: usize, view: &PodView, actions: &mut Actions) {
    for container in containers[..index]
        .iter()
        .filter(|container| names::is_sidecar(container))
    {
        if view
            .container(&container.name)
            .is_none_or(|state| state.phase != ContainerPhase::Running)
        {
            actions.init.push(container.name.clone());
        }
    }
}

fn sidecar_running(
    pod: &Pod,
    container: &Container,
    state: &ContainerState,
    probes: &HashMap<String, Results>,
    actions: &mut Actions,
    pass: &mut impl FnMut(&mut Actions),
) {
    let results = probes.get(&state.id).copied().unwrap_or_default();
    if container.startup_probe.is_some() {
        match results.startup {
            Some(true) => {}
            Some(false) => {
                return replace(
                    container,
                    state,
                    "failed startup probe",
                    KillReason::StartupProbe,
                    actions,
                );
            }
            None => return,
        }
    }
    pass(actions);
    if changed(container, state) {
        return replace(
            container,
            state,
            "definition changed",
            KillReason::Other,
            actions,
        );
    }
    if container.liveness_probe.is_some() && results.liveness == Some(false) {
        return replace(
            container,
            state,
            "failed liveness probe",
            KillReason::LivenessProbe,
            actions,
        );
    }
    if plan::container(pod, container, state, &mut actions.resize) == Fate::Restarts {
        actions.kill.push(kill_to_resize(container, state));
        actions.init.push(container.name.clone());
    }
}

fn kill_to_resize(container: &Container, state: &ContainerState) -> Kill {
    let message = format!("Container {} resize requires restart", container.name);
    Kill {
        id: state.id.clone(),
        name: container.name.clone(),
        message,
        reason: KillReason::Other,
    }
}

fn replace(
    container: &Container,
    state: &ContainerState,
    what: &str,
    reason: KillReason,
    actions: &mut Actions,
) {
    actions.kill.push(Kill {
        id: state.id.clone(),
        name: container.name.clone(),
        message: format!("Init container {} {what}", container.name),
        reason,
    });
    actions.init.push(container.name.clone());
}

fn changed(container: &Container, state: &ContainerState) -> bool {
    state
        .annotations
        .get(annotation::HASH)
        .is_some_and(|hash| *hash != names::hash(container))
}

fn regular(pod: &Pod, view: &PodView, probes: &HashMap<String, Results>, actions: &mut Actions) {
    let mut kept = 0;
    for container in &spec(pod).containers {
        let state = view
            .container(&container.name)
            .filter(|state| state.phase == ContainerPhase::Running);
        let Some(state) = state else {
            if should_be_started(container, pod, view) {
                actions.regular.push(container.name.clone());
            }
            continue;
        };
        let results = probes.get(&state.id).copied().unwrap_or_default();
        let (what, reason) = match () {
            () if changed(container, state) => ("definition changed", KillReason::Other),
            () if results.liveness == Some(false) => {
                ("failed liveness probe", KillReason::LivenessProbe)
            }
            () if results.startup == Some(false) => {
                ("failed startup probe", KillReason::StartupProbe)
            }
            () if plan::container(pod, container, state, &mut actions.resize) == Fate::Restarts => {
                actions.kill.push(kill_to_resize(container, state));
                actions.regular.push(container.name.clone());
                continue;
            }
            () => {
                kept += 1;
                continue;
            }
        };
        let policy = container
            .restart_policy
            .as_deref()
            .or(spec(pod).restart_policy.as_deref());
        let restart = reason == KillReason::Other || policy != Some("Never");
        let mut message = format!("Container {} {what}", container.name);
        if restart {
            message.push_str(", will be restarted");
            actions.regular.push(container.name.clone());
        }
        actions.kill.push(Kill {
            id: state.id.clone(),
            name: container.name.clone(),
            message,
            reason,
        });
    }
    if kept == 0 && actions.regular.is_empty() {
        actions.kill_pod = true;
        actions.init.clear();
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::{from_value, json};

    use super::*;
    use crate::{
        pod::view::tests::container as container_state,
        runtime::{SandboxSpec, SandboxState},
    };

    /// `i…` init containers, `s…` sidecars, others regular; `=r` running, `=<code>` ended, nothing: not there.
    fn case(policy: &str, text: &str) -> (Pod, PodView) {
        let (mut init, mut regular, mut states) = (Vec::new(), Vec::new(), Vec::new());
        for (order, part) in text.split_whitespace().enumerate() {
            let (name, state) = part
                .split_once('=')
                .map_or((part, None), |(name, state)| (name, Some(state)));
            let container = if name.starts_with('s') {
                json!({"name": name, "restartPolicy": "Always"})
            } else {
                json!({"name": name})
            };
            if name.starts_with(['i', 's']) {
                init.push(container)
            } else {
                regular.push(container)
            }
            let Some(state) = state else { continue };
            let (phase, exit_code) = match state {
                "r" => (ContainerPhase::Running, None),
                code => (ContainerPhase::Exited, Some(code.parse().unwrap())),
            };
            states.push(ContainerState {
                created_at: Timestamp::from_second(order as i64).unwrap(),
                ..container_state(name, phase, exit_code)
            });
        }
        let pod = from_value(json!({"spec": {"restartPolicy": policy, "initContainers": init, "containers": regular}})).unwrap();
        (pod, PodView::new(vec![sandbox(states)], 1))
    }

    fn sandbox(containers: Vec<ContainerState>) -> SandboxState {
        let spec: SandboxSpec =
            from_value(json!({"pod_uid": "u", "namespace": "n", "name": "p", "hostname": "p", "netns": null, "host_pid": false, "host_ipc": false,
            "share_process_namespace": false, "sysctls": {}, "log_dir": "/", "cgroup": "", "cgroup_limits": {}}))
            .unwrap();
        SandboxState {
            id: "s".into(),
            spec,
            ready: true,
            created_at: Timestamp::UNIX_EPOCH,
            containers,
            ips: Vec::new(),
            trouble: None,
        }
    }

    fn words(actions: &Actions) -> String {
        let mut words = Vec::new();
        if actions.kill_pod {
            words.push("kill-pod".to_owned())
        }
        words.extend(actions.kill.iter().map(|kill| format!("-{}", kill.name)));
        words.extend(
            actions
                .init
                .iter()
                .chain(&actions.regular)
                .map(|name| format!("+{name}")),
        );
        words.join(" ")
    }

    #[test]
    fn table() {
        let table = [
            ("Always", "a b", "+a +b"),
            ("Always", "a=r b", "+b"),
            ("Always", "a=r b=r", ""),
            ("Always", "a=0", "+a"),
            ("OnFailure", "a=0 b=1", "+b"),
            ("OnFailure", "a=0", "kill-pod"),
            ("Never", "a=1 b=r", ""),
            ("Never", "a=1", "kill-pod"),
            ("Always", "i a", "+i"),
            ("Always", "i=r a", ""),
            ("Always", "i=0 a", "+a"),
            ("Always", "i=0 i2 a", "+i2"),
            ("Always", "i=1 a", "+i"),
            ("Never", "i=1 a", "kill-pod"),
            ("Always", "s a", "+s"),
            ("Always", "s=r a", "+a"),
            ("Always", "s=r i a", "+i"),
            ("Always", "s=1 i=r a", "+s"),
            ("Always", "s=1 a=r", "+s"),
            ("Never", "s=r a=0", "kill-pod"),
            ("Always", "i=0 s=r a=r", ""),
        ];
        for (policy, text, expected) in table {
            let (pod, view) = case(policy, text);
            assert_eq!(
                words(&compute(&pod, &view, &HashMap::new(), false)),
                expected,
                "{policy}: {text}"
            );
        }
    }

    #[test]
    fn failed_probes_kill() {
        let (pod, view) = case("Always", "a=r");
        let probes = HashMap::from([(
            "a-id".to_owned(),
            Results {
                liveness: Some(false),
                ..Default::default()
            },
        )]);
        let actions = compute(&pod, &view, &probes, false);
        assert_eq!(
            actions.kill[0].message,
            "Container a failed liveness probe, will be restarted"
        );
        assert_eq!(words(&actions), "-a +a");
    }

    #[test]
    fn a_missing_sandbox_starts_from_the_beginning() {
        let (pod, _) = case("Always", "i a");
        let actions = compute(&pod, &PodView::default(), &HashMap::new(), false);
        assert!(actions.create_sandbox && !actions.kill_pod);
        assert_eq!(words(&actions), "+i");
    }

    #[test]
    fn all_can_be_made_to_run_anew() {
        let (pod, view) = case("Never", "a=42 b=r");
        assert!(compute(&pod, &view, &HashMap::new(), true).reset);
        assert!(!compute(&pod, &view, &HashMap::new(), false).reset);
    }
}
