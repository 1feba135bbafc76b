//! `status.containerStatuses` and its two sisters, from what the runtime has and what was last reported.
//!
//! Invariant: pure; a container that once ran is never reported as if it had not.
//! Follows `convertToAPIContainerStatuses` in `pkg/kubelet/kubelet_pods.go`.

use std::collections::HashMap;

use k8s_openapi::{
    api::core::v1::{
        Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
        ContainerStateWaiting, ContainerStatus, ContainerUser, LinuxContainerUser, Pod,
        VolumeMountStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    enacted,
    names::{self, Kind},
    restart_all,
    told::{self, Told},
    view::{PodView, annotation},
};
use crate::{runtime, time};

/// Why a container waits: the reason and the message of its status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    pub reason: String,
    pub message: String,
}

impl Waiting {
    pub fn new(reason: &str, message: impl Into<String>) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.into(),
        }
    }
}

/// What container statuses are computed from.
pub struct Inputs<'a> {
    pub pod: &'a Pod,
    /// Without containers of which the API is not to hear yet.
    pub view: &'a PodView,
    /// All containers are being removed in order to run anew.
    pub restarting: bool,
    /// Why containers could not be started, by name.
    pub reasons: &'a HashMap<String, Waiting>,
    /// Termination messages, by container id.
    pub messages: &'a HashMap<String, String>,
}

/// Whether a container that is not running is to be started (again).
pub fn should_be_started(container: &Container, pod: &Pod, view: &PodView) -> bool {
    if pod.metadata.deletion_timestamp.is_some() {
        return false;
    }
    match view.container(&container.name) {
        None => true,
        Some(state) => match state.phase {
            runtime::ContainerPhase::Running => false,
            runtime::ContainerPhase::Created => true,
            runtime::ContainerPhase::Exited => {
                names::should_restart(container, names::spec(pod), state.exit_code.unwrap_or(255))
            }
        },
    }
}

/// Whether a regular container was ever made, which means that initialization was over.
pub fn any_regular_created(pod: &Pod, view: &PodView) -> bool {
    names::spec(pod)
        .containers
        .iter()
        .any(|container| view.container(&container.name).is_some())
}

/// Whether a regular container runs or waits to be started now.
pub fn any_active_regular_started(pod: &Pod, view: &PodView) -> bool {
    names::spec(pod).containers.iter().any(|container| {
        view.container(&container.name).is_some_and(|state| {
            state.phase == runtime::ContainerPhase::Running
                && view.sandboxes.first().is_some_and(|s| s.ready)
        })
    })
}

/// The statuses of one of the three lists, given what was last reported for it.
pub fn statuses(
    inputs: &Inputs,
    previous: &[ContainerStatus],
    containers: &[Container],
    kind: Kind,
) -> Vec<ContainerStatus> {
    let old: HashMap<&str, &ContainerStatus> = previous
        .iter()
        .map(|status| (status.name.as_str(), status))
        .collect();
    let mut all: Vec<ContainerStatus> = containers
        .iter()
        .map(|container| {
            one(
                inputs,
                container,
                old.get(container.name.as_str()).copied(),
                kind,
            )
        })
        .collect();
    if kind != Kind::Init {
        all.sort_by(|a, b| a.name.cmp(&b.name));
    }
    all
}

fn one(
    inputs: &Inputs,
    container: &Container,
    old: Option<&ContainerStatus>,
    kind: Kind,
) -> ContainerStatus {
    let mut history = inputs.view.history(&container.name);
    let mut status = match history.next() {
        None => absent(inputs, container, old),
        Some(newest) => {
            let mut status = present(inputs, container, newest, old);
            if let Some(before) = history.next() {
                status.last_state = Some(state_of(inputs, before));
            }
            status
        }
    };
    wait(inputs, container, kind, &mut status);
    status
}

/// The status of a container that the runtime does not have.
fn absent(
    inputs: &Inputs,
    container: &Container,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let has_init = names::spec(inputs.pod)
        .init_containers
        .as_ref()
        .is_some_and(|list| !list.is_empty());
    let default_reason = if has_init {
        "PodInitializing"
    } else {
        "ContainerCreating"
    };
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        state: Some(waiting(default_reason, None)),
        last_state: Some(ContainerState::default()),
        volume_mounts: mount_statuses(container),
        ..Default::default()
    };
    let Some(old) = old else { return status };
    let ended = old.state.terminated().is_some();
    let waits = old.state.waiting().is_some();
    if inputs.restarting && !waits {
        let mut status = if ended { old.clone() } else { status };
        restart_all::tell_removed(&mut status, old);
        return status;
    }
    if ended {
        return old.clone();
    }
    status.restart_count = old.restart_count;
    status.last_state = old.last_state.clone().or(status.last_state);
    let ran = old.state.running().is_some();
    let has_last = status.last_state.terminated().is_some();
    if ran && !has_last {
        status.last_state = Some(told::terminated(lost()));
        if inputs.pod.metadata.deletion_timestamp.is_none() {
            status.restart_count += 1;
        }
    }
    status
}

fn lost() -> ContainerStateTerminated {
    ContainerStateTerminated {
        reason: Some("ContainerStatusUnknown".into()),
        message: Some("The container could not be located when the pod was deleted.  The container used to be Running".into()),
        exit_code: 137,
        ..Default::default()
    }
}

/// The status of a container that the runtime has.
fn present(
    inputs: &Inputs,
    container: &Container,
    state: &runtime::ContainerState,
    old: Option<&ContainerStatus>,
) -> ContainerStatus {
    let noted = |key: &str| state.annotations.get(key).cloned();
    let restart_count = i32::try_from(state.restart_count).unwrap_or(i32::MAX);
    let id = container_id(&state.id);
    let mut status = ContainerStatus {
        name: container.name.clone(),
        image: noted(annotation::IMAGE)
            .unwrap_or_else(|| container.image.clone().unwrap_or_default()),
        image_id: noted(annotation::IMAGE_REF).unwrap_or_else(|| state.image_id.clone()),
        restart_count: old.map_or(restart_count, |old| restart_count.max(old.restart_count)),
        state: Some(state_of(inputs, state)),
        last_state: Some(ContainerState::default()),
        volume_mounts: mount_statuses(container),
        resources: Some(enacted::container_status(container, state, old, &id)),
        allocated_resources: container
            .resources
            .as_ref()
            .and_then(|resources| resources.requests.clone()),
        user: state.user.as_ref().map(user),
        container_id: Some(id),
        ..Default::default()
    };
    let Some(old) = old else { return status };
    let old_terminated = old.state.terminated().cloned();
    let old_last = old.last_state.terminated().cloned();
    let last = if old.container_id == status.container_id {
        old_last
    } else {
        old_terminated.or(old_last)
    };
    if let Some(last) = last {
        status.last_state = Some(told::terminated(last));
    }
    if state.phase == runtime::ContainerPhase::Running {
        status.started = old
            .started
            .filter(|_| old.container_id == status.container_id);
        let ended = old.state.terminated().is_some();
        if ended && old.restart_count >= status.restart_count {
            status.restart_count = old.restart_count + 1;
        }
    }
    status
}

fn user(user: &runtime::User) -> ContainerUser {
    ContainerUser {
        linux: Some(LinuxContainerUser {
            uid: user.uid,
            gid: user.gid,
            supplemental_groups: Some(user.groups.clone()),
        }),
    }
}

/// What ids of containers begin with in the API.
pub const ID_PREFIX: &str = "skiff://";

/// The id as the API has it.
pub fn container_id(id: &str) -> String {
    format!("{ID_PREFIX}{id}")
}

fn state_of(inputs: &Inputs, state: &runtime::ContainerState) -> ContainerState {
    match state.phase {
        // Not shown while it is made.
        runtime::ContainerPhase::Created => waiting("ContainerCreating", None),
        runtime::ContainerPhase::Running => told::running(ContainerStateRunning {
            started_at: Some(api_time(state.started_at.unwrap_or(state.created_at))),
        }),
        runtime::ContainerPhase::Exited => {
            let exit_code = state.exit_code.unwrap_or(255);
            let reason = match () {
                () if state.oom_killed => "OOMKilled",
                () if state.started_at.is_none() => "StartError",
                () if exit_code == 0 => "Completed",
                () => "Error",
            };
            let message = inputs.messages.get(&state.id);
            told::terminated(ContainerStateTerminated {
                exit_code,
                signal: None,
                reason: Some(reason.into()),
                message: message.filter(|message| !message.is_empty()).cloned(),
                started_at: Some(api_time(state.started_at.unwrap_or(state.created_at))),
                finished_at: state.finished_at.map(api_time),
                container_id: Some(container_id(&state.id)),
            })
        }
    }
}

fn api_time(at: jiff::Timestamp) -> Time {
    Time(time::whole_seconds(at))
}

fn waiting(reason: &str, message: Option<&str>) -> ContainerState {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    told::waiting(ContainerStateWaiting {
        reason: text(reason),
        message: message.and_then(text),
    })
}

/// Puts a container that is to be started, but could not be, into its waiting state.
fn wait(inputs: &Inputs, container: &Container, kind: Kind, status: &mut ContainerStatus) {
    let state = inputs.view.container(&container.name);
    if kind == Kind::Init {
        if state.is_some_and(|state| {
            state.phase == runtime::ContainerPhase::Exited
                && state.exit_code == Some(0)
                && !names::is_sidecar(container)
        }) {
            return;
        }
        let waits = status.state.waiting().is_some();
        if state.is_none()
            && waits
            && !names::is_sidecar(container)
            && any_regular_created(inputs.pod, inputs.view)
        {
            status.state = Some(ContainerState {
                terminated: Some(ContainerStateTerminated {
                    reason: Some("Completed".into()),
                    message: Some(
                        "Unable to get init container status from container runtime and pod has been initialized, treat it as exited normally".into(),
                    ),
                    exit_code: 0,
                    ..Default::default()
                }),
                ..Default::default()
            });
            return;
        }
    }
    if !should_be_started(container, inputs.pod, inputs.view) {
        return;
    }
    let Some(reason) = inputs.reasons.get(&container.name) else {
        return;
    };
    if status.state.terminated().is_some() {
        status.last_state = status.state.take();
    }
    status.state = Some(waiting(&reason.reason, Some(&reason.message)));
}

fn mount_statuses(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let mounts = container.volume_mounts.as_ref()?;
    Some(
        mounts
            .iter()
            .map(|mount| VolumeMountStatus {
                name: mount.name.clone(),
                mount_path: mount.mount_path.clone(),
                read_only: mount.read_only.filter(|read_only| *read_only),
                recursive_read_only: mount
                    .read_only
                    .filter(|read_only| *read_only)
                    .map(|_| "Disabled".to_owned()),
                ..Default::default()
            })
            .collect(),
    )
}
