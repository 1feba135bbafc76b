//! What has to be looked after while a pod runs: probes, ports of the node, and what dead containers leave (`volumes.rs` has its volumes).
//!
//! Invariant: each of these can be repeated at any time, and does nothing when there is nothing to do.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Container, Pod};
use skiff_podspec::containers::staying;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    agent::context::Context,
    pod::{
        containers::container_id,
        handle::Handle,
        host_ports,
        names::{self, spec},
        view::PodView,
    },
    probe::state::{Results, Type as ProbeType},
    runtime::{self, ContainerPhase},
    worker::probe::task::{self, Task},
};

/// The probes that run, by container id.
pub type Probes = HashMap<(String, ProbeType), AbortOnDropHandle<()>>;

/// What belongs to the pod's task alone.
#[derive(Default)]
pub struct Own {
    pub probes: parking_lot::Mutex<Probes>,
    pub host_ports: tokio::sync::Mutex<host_ports::Open>,
}

/// Starts the probes of containers that run and ends those of containers that do not.
pub fn run_probes(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    pod: &Pod,
    view: &PodView,
    probes: &parking_lot::Mutex<Probes>,
) {
    let mut probes = probes.lock();
    let running: HashSet<&str> = view.running().map(|state| state.id.as_str()).collect();
    probes.retain(|(id, _), _| running.contains(id.as_str()));
    for container in staying(spec(pod)) {
        let Some(state) = view
            .container(&container.name)
            .filter(|state| state.phase == ContainerPhase::Running)
        else {
            continue;
        };
        seed(handle, container, state);
        for type_ in task::types(container) {
            probes.entry((state.id.clone(), type_)).or_insert_with(|| {
                let task = Task {
                    node: node.clone(),
                    handle: handle.clone(),
                    container: container.clone(),
                    state: state.clone(),
                    type_,
                };
                AbortOnDropHandle::new(skiff_watching::task::spawn(task.run()))
            });
        }
    }
}

/// After a restart of the agent, a container that was started and ready is taken to be so until its probes say otherwise.
fn seed(handle: &Handle, container: &Container, state: &runtime::ContainerState) {
    let mut remembered = handle.state.lock();
    if remembered.probes.contains_key(&state.id) {
        return;
    }
    let reported = remembered
        .in_api
        .container_statuses
        .iter()
        .flatten()
        .chain(remembered.in_api.init_container_statuses.iter().flatten());
    let id = container_id(&state.id);
    let before = reported
        .into_iter()
        .find(|status| status.container_id.as_deref() == Some(&id));
    let results = Results {
        startup: before
            .and_then(|status| status.started)
            .filter(|started| *started && container.startup_probe.is_some()),
        readiness: before
            .map(|status| status.ready)
            .filter(|ready| *ready && container.readiness_probe.is_some()),
        liveness: None,
    };
    remembered.probes.insert(state.id.clone(), results);
}

/// Opens the node's ports that lead to the pod.
pub async fn open_host_ports(node: &Context, handle: &Handle, pod: &Pod, own: &Own) {
    let ips = handle.state.lock().ips.clone();
    if ips.is_empty() || node.config.simulated {
        return;
    }
    let errors = match host_ports::mappings(pod, &ips) {
        Ok(wanted) => own.host_ports.lock().await.bring_to(&wanted).await,
        Err(error) => vec![error],
    };
    for error in errors {
        node.events
            .warn(names::reference(pod), "HostPortConflict", error.to_string());
    }
}

/// Of each container the present one and the one before it are kept, and of the sandboxes the present one.
pub async fn collect_garbage(node: &Context, handle: &Handle) {
    let view = handle.state.lock().view.clone();
    let mut seen: HashMap<&str, u32> = HashMap::new();
    for container in &view.containers {
        let count = seen.entry(&container.name).or_default();
        *count += 1;
        if *count <= 2 || container.phase == ContainerPhase::Running {
            continue;
        }
        if let Err(error) = node.runtime.remove_container(&container.id).await {
            tracing::debug!(%error, "dead container not removed");
            continue;
        }
        if let Err(error) = tokio::fs::remove_file(&container.log_path).await {
            tracing::debug!(%error, path = %container.log_path.display(), "log of a dead container not removed");
        }
    }
    let all_anew = view.sandboxes.len() > 1
        && view.sandboxes.first().is_some_and(|sandbox| sandbox.ready)
        && !view
            .containers
            .iter()
            .any(|c| seen.get(c.name.as_str()) == Some(&1));
    if all_anew {
        for old in &view.sandboxes[1..] {
            if let Err(error) = node.runtime.remove_sandbox(&old.id).await {
                tracing::debug!(%error, "old sandbox not removed");
            }
        }
    }
}
