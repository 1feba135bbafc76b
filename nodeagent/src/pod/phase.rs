//! The phase of a pod.
//!
//! Invariant: pure; a terminal phase is answered only when nothing of the pod will run again.
//! Follows `getPhase` in `pkg/kubelet/kubelet_pods.go`.

use k8s_openapi::api::core::v1::{Container, ContainerStatus, PodSpec};

use super::names;

#[derive(Default)]
struct Count {
    pending_init: u32,
    pending_sidecar: u32,
    failed_init: u32,
    unknown: u32,
    running: u32,
    waiting: u32,
    stopped: u32,
    stopped_for_good: u32,
    succeeded: u32,
}

/// What a status says about how its container stands.
enum Standing {
    Unknown,
    Running,
    Waiting,
    /// Ended with this code, or waits after it ended so.
    Ended {
        code: i32,
        now: bool,
    },
}

fn standing(status: Option<&&ContainerStatus>) -> Standing {
    let Some(state) = status.and_then(|status| status.state.as_ref()) else {
        return Standing::Unknown;
    };
    if state.running.is_some() {
        return Standing::Running;
    }
    if let Some(ended) = &state.terminated {
        return Standing::Ended {
            code: ended.exit_code,
            now: true,
        };
    }
    if state.waiting.is_none() {
        return Standing::Unknown;
    }
    match status
        .and_then(|status| status.last_state.as_ref())
        .and_then(|last| last.terminated.as_ref())
    {
        Some(ended) => Standing::Ended {
            code: ended.exit_code,
            now: false,
        },
        None => Standing::Waiting,
    }
}

/// The phase of a pod whose containers have these statuses. `terminal`: nothing will be started any more. `initialized`: a regular container runs.
pub fn phase(
    spec: &PodSpec,
    statuses: &[ContainerStatus],
    terminal: bool,
    initialized: bool,
) -> &'static str {
    let statuses = names::by_name(statuses);
    let mut count = Count::default();
    for container in spec.init_containers.iter().flatten() {
        let status = statuses.get(container.name.as_str());
        if names::is_sidecar(container) {
            count_sidecar(
                &mut count,
                standing(status),
                status.is_some_and(|status| status.started == Some(true)),
                status.is_some(),
            );
        } else {
            count_init(&mut count, container, spec, standing(status));
        }
    }
    for container in &spec.containers {
        count_regular(
            &mut count,
            container,
            spec,
            standing(statuses.get(container.name.as_str())),
        );
    }
    decide(&count, terminal, initialized)
}

fn count_init(count: &mut Count, container: &Container, spec: &PodSpec, standing: Standing) {
    match standing {
        Standing::Ended { code: 0, .. } => {}
        Standing::Ended { code, .. } if names::should_restart(container, spec, code) => {}
        Standing::Ended { .. } => count.failed_init += 1,
        Standing::Unknown | Standing::Running | Standing::Waiting => count.pending_init += 1,
    }
}

fn count_sidecar(count: &mut Count, standing: Standing, started: bool, known: bool) {
    match standing {
        Standing::Running => {
            count.running += 1;
            count.pending_sidecar += u32::from(!started);
        }
        Standing::Ended { .. } => {}
        Standing::Waiting => {
            count.pending_sidecar += 1;
            count.waiting += 1;
        }
        Standing::Unknown => {
            count.pending_sidecar += u32::from(known);
            count.unknown += 1;
        }
    }
}

fn count_regular(count: &mut Count, container: &Container, spec: &PodSpec, standing: Standing) {
    match standing {
        Standing::Running => count.running += 1,
        Standing::Waiting => count.waiting += 1,
        Standing::Unknown => count.unknown += 1,
        Standing::Ended { code, now } => {
            count.stopped += 1;
            count.stopped_for_good += u32::from(!names::should_restart(container, spec, code));
            count.succeeded += u32::from(now && code == 0);
        }
    }
}

fn decide(count: &Count, terminal: bool, initialized: bool) -> &'static str {
    if count.failed_init > 0 {
        return "Failed";
    }
    if count.pending_init > 0 || (count.pending_sidecar > 0 && !initialized) || count.waiting > 0 {
        return "Pending";
    }
    if count.running > 0 && count.unknown == 0 {
        return "Running";
    }
    if count.running > 0 || count.stopped == 0 || count.unknown > 0 {
        return "Pending";
    }
    match () {
        () if !terminal && count.stopped != count.stopped_for_good => "Running",
        () if count.stopped == count.succeeded => "Succeeded",
        () => "Failed",
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated};
    use skiff_testing::With;

    use super::*;
    use crate::pod::told;

    fn state(text: &str) -> ContainerState {
        match text {
            "running" => told::running(Default::default()),
            "waiting" => told::waiting(Default::default()),
            code => told::terminated(ContainerStateTerminated {
                exit_code: code.parse().unwrap(),
                ..Default::default()
            }),
        }
    }

    /// `name=state[<last]`, separated by blanks; `i…` are init containers, `s…` sidecars.
    fn check(policy: &str, statuses: &str, terminal: bool, expected: &str) {
        let mut spec = PodSpec::default().with(|p| {
            p.restart_policy = Some(policy.into());
            p.init_containers = Some(Vec::new());
        });
        let mut list = Vec::new();
        for part in statuses.split_whitespace() {
            let (name, rest) = part.split_once('=').unwrap();
            let (now, last) = rest
                .split_once('<')
                .map_or((rest, None), |(now, last)| (now, Some(last)));
            let sidecar = name.starts_with('s');
            let container = Container::default().with(|c| {
                c.name = name.into();
                c.restart_policy = sidecar.then(|| "Always".into());
            });
            if sidecar || name.starts_with('i') {
                spec.init_containers.as_mut().unwrap().push(container);
            } else {
                spec.containers.push(container);
            }
            if now != "none" {
                let started = Some(now == "running");
                list.push(ContainerStatus {
                    name: name.into(),
                    started,
                    state: Some(state(now)),
                    last_state: last.map(state),
                    ..Default::default()
                });
            }
        }
        let initialized = list.iter().any(|status| {
            status.name.starts_with('c') && status.state.as_ref().unwrap().running.is_some()
        });
        assert_eq!(
            phase(&spec, &list, terminal, initialized),
            expected,
            "{policy}: {statuses} terminal={terminal}"
        );
    }

    #[test]
    fn table() {
        check("Always", "c=waiting", false, "Pending");
        check("Always", "c=running", false, "Running");
        check("Always", "c=running d=waiting", false, "Pending");
        check("Always", "c=0", false, "Running");
        check("Always", "c=0", true, "Succeeded");
        check("Always", "c=1", true, "Failed");
        check("Always", "c=waiting<1", false, "Running");
        check("Never", "c=0", false, "Succeeded");
        check("Never", "c=0 d=1", false, "Failed");
        check("Never", "c=0 d=running", false, "Running");
        check("OnFailure", "c=0", false, "Succeeded");
        check("OnFailure", "c=1", false, "Running");
        check("OnFailure", "c=0 d=waiting<1", false, "Running");
        check("Never", "i=1 c=waiting", false, "Failed");
        check("Always", "i=1 c=waiting", false, "Pending");
        check("Always", "i=running c=waiting", false, "Pending");
        check("Always", "i=0 c=running", false, "Running");
        check("Always", "s=running c=running", false, "Running");
        check("Always", "s=waiting c=waiting", false, "Pending");
        check("Never", "s=running c=0", false, "Running");
        check("Never", "s=0 c=0", false, "Succeeded");
        check("Always", "c=none", false, "Pending");
    }
}
