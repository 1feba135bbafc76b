//! One look at a pod that is to run: bring what is there nearer to what is wanted.
//!
//! Invariant: level-triggered; it may be cancelled nowhere and repeated anywhere.
//! Follows `SyncPod` in `pkg/kubelet/kubelet.go` and `pkg/kubelet/kuberuntime/kuberuntime_manager.go`.

use std::{collections::HashSet, sync::Arc, time::Duration};

use super::{
    kill, load,
    publish::publish,
    resize::enact,
    sandbox, start,
    upkeep::{Own, Probes, collect_garbage, open_host_ports, run_probes},
    volumes,
};
use crate::{
    agent::context::Context,
    network,
    pod::{
        actions::{self, Actions},
        handle::{Handle, Verdict},
        messages,
        names::{self, is_terminal, spec, uid},
        resize::{
            self,
            plan::{self, Steps},
        },
        restart_all,
        view::{PodView, Sandbox},
    },
    runtime::{self, ContainerPhase},
    time,
};
use k8s_openapi::api::core::v1::Pod;

/// Why the pod has no sandbox to run in.
#[derive(thiserror::Error, Debug)]
enum Error {
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    #[error(transparent)]
    Network(#[from] network::Error),
    #[error(transparent)]
    Sandbox(#[from] sandbox::Error),
}

/// What is to happen after a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Look again when something happens, at the latest after this.
    Wait(Duration),
    /// Look again at once.
    Again,
    /// The pod has ended, or is to.
    Terminate,
}

/// Takes in what the runtime has of the pod, and tells the API.
pub async fn observe(node: &Arc<Context>, handle: &Arc<Handle>) -> Result<PodView, runtime::Error> {
    let pod = handle.pod();
    let view = node.observer.refresh(uid(&pod)).await?;
    note(node, handle, &pod, &view);
    publish(node, handle);
    Ok(view)
}

fn note(node: &Context, handle: &Handle, pod: &Pod, view: &PodView) {
    let known: HashSet<String> = handle.state.lock().messages.keys().cloned().collect();
    let fresh: Vec<(String, String)> = view
        .containers
        .iter()
        .filter(|state| state.phase == ContainerPhase::Exited && !known.contains(&state.id))
        .map(|state| (state.id.clone(), messages::read(state)))
        .collect();
    let mut state = handle.state.lock();
    if state.view.listing > view.listing {
        return;
    }
    state.messages.extend(fresh);
    let ids: HashSet<&str> = view
        .containers
        .iter()
        .map(|state| state.id.as_str())
        .collect();
    state.messages.retain(|id, _| ids.contains(id.as_str()));
    state.probes.retain(|id, _| ids.contains(id.as_str()));
    if names::is_host_network(pod) {
        state.ips.clone_from(&node.host_ips);
    } else if !view.ips().is_empty() {
        state.ips = view.ips().to_vec();
    }
    state.view = view.clone();
}

/// One look.
pub async fn look(node: &Arc<Context>, handle: &Arc<Handle>, own: &Own) -> Next {
    let probes = &own.probes;
    let pod = handle.pod();
    let retry = Next::Wait(node.config.intervals.retry);
    if let Err(error) = find_addresses(node, handle, &pod).await {
        tracing::warn!(%error, pod = names::name(&pod), "pod network not found again");
        return retry;
    }
    let view = match observe(node, handle).await {
        Ok(view) => view,
        Err(error) => {
            tracing::warn!(%error, "runtime not listed");
            return retry;
        }
    };
    if let Some(left) = deadline(&pod, handle)
        && left.is_zero()
    {
        node.events
            .normal(names::reference(&pod), "DeadlineExceeded", DEADLINE_MESSAGE);
        handle.state.lock().failed = Some(Verdict::ended("DeadlineExceeded", DEADLINE_MESSAGE));
        return Next::Terminate;
    }
    if handle
        .state
        .lock()
        .status
        .phase
        .as_deref()
        .is_some_and(is_terminal)
    {
        return Next::Terminate;
    }
    follow_resize(node, handle, &pod, &view);
    load::follow(node, &pod, &view).await;
    run_probes(node, handle, &pod, &view, probes);
    open_host_ports(node, handle, &pod, own).await;
    if let Err(volumes::Incomplete { again }) = volumes::set_up(node, handle, &pod).await {
        let wait = node.resync().min(time::until(again));
        return Next::Wait(wait.min(deadline(&pod, handle).unwrap_or(wait)));
    }
    let actions = {
        let state = handle.state.lock();
        actions::compute(
            &pod,
            &view,
            &state.probes,
            restart_all::is_on(&state.status),
        )
    };
    let next = act(node, handle, &pod, &view, actions, probes).await;
    open_host_ports(node, handle, &pod, own).await;
    next
}

/// Tells how far a resize has come.
fn follow_resize(node: &Arc<Context>, handle: &Arc<Handle>, pod: &Pod, view: &PodView) {
    let over = {
        let mut state = handle.state.lock();
        if plan::is_in_progress(pod, view) {
            state
                .resize
                .set_in_progress("", "", pod.metadata.generation);
            None
        } else {
            state.resize.clear_in_progress()
        }
    };
    if let Some(generation) = over {
        let message = resize::message("Pod resize completed", pod, generation, "");
        node.events
            .normal(names::reference(pod), "ResizeCompleted", message);
        publish(node, handle);
    }
}

/// Takes the steps of a resize. Whether they were taken; if not, that is told.
async fn resize(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    pod: &Pod,
    view: &PodView,
    steps: &Steps,
) -> bool {
    let Err(error) = enact::enact(node, pod, view, steps).await else {
        return true;
    };
    let (error, wanted) = (error.to_string(), pod.metadata.generation);
    let (generation, news) = handle
        .state
        .lock()
        .resize
        .set_in_progress("Error", &error, wanted);
    if news {
        let message = resize::message("Pod resize error", pod, generation, &error);
        node.events
            .warn(names::reference(pod), "ResizeError", message);
        publish(node, handle);
    }
    false
}

const DEADLINE_MESSAGE: &str = "Pod was active on the node longer than the specified deadline";

/// How long the pod may still be active; `None` when it has no deadline.
fn deadline(pod: &Pod, handle: &Handle) -> Option<Duration> {
    let seconds = u64::try_from(spec(pod).active_deadline_seconds?).ok()?;
    let started = handle.state.lock().status.start_time.clone()?.0;
    Some(time::until(time::after(
        started,
        Duration::from_secs(seconds),
    )))
}

/// After a restart of the agent, the addresses of a pod that runs are found again.
async fn find_addresses(node: &Context, handle: &Handle, pod: &Pod) -> Result<(), Error> {
    if !handle.state.lock().ips.is_empty() || node.network.is_none() || names::is_host_network(pod)
    {
        return Ok(());
    }
    let view = node.observer.refresh(uid(pod)).await?;
    if matches!(view.sandbox(), Sandbox::Ready(_)) {
        handle.state.lock().ips = sandbox::network(node, pod).await?.1;
    }
    Ok(())
}

async fn act(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    pod: &Arc<Pod>,
    view: &PodView,
    actions: Actions,
    probes: &parking_lot::Mutex<Probes>,
) -> Next {
    let retry = Next::Wait(node.config.intervals.retry);
    if actions.reset {
        return if reset(node, handle, view).await {
            Next::Again
        } else {
            retry
        };
    }
    if actions.kill_pod {
        if actions.create_sandbox {
            let message = "Pod sandbox changed, it will be killed and re-created.";
            node.events
                .normal(names::reference(pod), "SandboxChanged", message);
        }
        let running: Vec<_> = view.running().cloned().collect();
        if !stop_all(node, handle, view, &running).await {
            return retry;
        }
        if !actions.create_sandbox {
            return if running.is_empty() {
                Next::Wait(node.resync())
            } else {
                Next::Again
            };
        }
    }
    let sandbox = match (view.sandbox(), actions.create_sandbox) {
        (Sandbox::Ready(id), false) => id,
        (_, true) => match make_sandbox(node, handle, pod).await {
            Ok(id) => id,
            Err(error) => {
                if !handle.ending.is_cancelled() {
                    node.figures.pod_not_started();
                }
                let message = format!("Failed to create pod sandbox: {error}");
                node.events
                    .warn(names::reference(pod), "FailedCreatePodSandBox", message);
                return retry;
            }
        },
        (_, false) => return retry,
    };
    for killed in &actions.kill {
        let Some(state) = view.by_id(&killed.id) else {
            continue;
        };
        let container = names::find_container(pod, &killed.name).map(|(_, container)| container);
        let seconds = kill::grace_period(pod, container.as_ref(), killed.reason);
        if let Err(error) =
            kill::container(node, handle, state, seconds, &killed.message, None).await
        {
            tracing::warn!(%error, container = killed.name, "container not stopped");
            return retry;
        }
    }
    if !actions.kill.is_empty() {
        match observe(node, handle).await {
            Ok(view) => run_probes(node, handle, pod, &view, probes),
            Err(_) => return retry,
        }
    }
    let first: Vec<&String> = actions.ephemeral.iter().chain(&actions.init).collect();
    let mut failed = start_all(node, handle, pod, &sandbox, &first, probes).await;
    let resized =
        actions.resize.is_empty() || resize(node, handle, pod, view, &actions.resize).await;
    failed |= !resized;
    failed |= start_all(
        node,
        handle,
        pod,
        &sandbox,
        &actions.regular.iter().collect::<Vec<_>>(),
        probes,
    )
    .await;
    collect_garbage(node, handle).await;
    if resized && !actions.resize.is_empty() {
        // What came of it is to be told.
        return Next::Again;
    }
    when_next(node, handle, pod, failed)
}

async fn make_sandbox(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    pod: &Pod,
) -> Result<String, Error> {
    node.figures.starts_pod();
    let (id, ips) = sandbox::create(node, pod).await?;
    if !ips.is_empty() {
        handle.state.lock().ips = ips;
    }
    observe(node, handle).await?;
    // Files that tell of the pod's address could not be right before it had one. All volumes are there already: none can be missing now.
    if let Err(volumes::Incomplete { again }) = volumes::set_up(node, handle, pod).await {
        tracing::debug!(%again, pod = names::name(pod), "a volume is missing that was there");
    }
    Ok(id)
}

async fn start_all(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    pod: &Arc<Pod>,
    sandbox: &str,
    wanted: &[&String],
    probes: &parking_lot::Mutex<Probes>,
) -> bool {
    let mut failed = false;
    for name in wanted {
        if handle.ending.is_cancelled() {
            return false;
        }
        let Some((kind, container)) = names::find_container(pod, name) else {
            continue;
        };
        match start::start(node, handle, sandbox, (kind, &container)).await {
            Ok(()) => _ = handle.state.lock().reasons.remove(*name),
            Err(waiting) => {
                failed = true;
                handle.state.lock().reasons.insert((*name).clone(), waiting);
            }
        }
        if let Ok(view) = observe(node, handle).await {
            run_probes(node, handle, pod, &view, probes);
        }
    }
    failed
}

/// When the pod has to be looked at even if nothing happens to it.
fn when_next(node: &Context, handle: &Handle, pod: &Pod, failed: bool) -> Next {
    let mut wait = if failed {
        node.config.intervals.retry
    } else {
        node.resync()
    };
    wait = wait.min(deadline(pod, handle).unwrap_or(wait));
    if failed {
        let now = time::now();
        let state = handle.state.lock();
        let ends = state.view.containers.iter().filter_map(|container| {
            let (_, wanted) = names::find_container(pod, &container.name)?;
            let key = names::hash(&wanted);
            state.backoff.waits_since(&key, container.finished_at?, now)
        });
        if let Some(first) = ends.chain(node.puller.retry_at(pod)).min() {
            wait = wait.min(time::until(first) + Duration::from_millis(5));
        }
    }
    Next::Wait(wait)
}

/// Stops what runs, and the sandbox. Whether that worked.
pub async fn stop_all(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    view: &PodView,
    running: &[runtime::ContainerState],
) -> bool {
    let pod = handle.pod();
    let mut errors = Vec::new();
    if let Err(error) = kill::all(node, handle, running).await {
        errors.push(error);
    }
    let stopped = errors.is_empty();
    for sandbox in view
        .sandboxes
        .iter()
        .filter(|sandbox| sandbox.ready && stopped)
    {
        match node.runtime.stop_sandbox(&sandbox.id).await {
            Ok(()) | Err(runtime::Error::NotFound(_)) => {}
            Err(error) => errors.push(error),
        }
    }
    for error in &errors {
        let message = format!("error killing pod: {error}");
        node.events
            .warn(names::reference(&pod), "FailedKillPod", message);
    }
    errors.is_empty()
}

/// Stops and removes all containers, so that all run anew.
async fn reset(node: &Arc<Context>, handle: &Arc<Handle>, view: &PodView) -> bool {
    let running: Vec<_> = view.running().cloned().collect();
    if let Err(error) = kill::all(node, handle, &running).await {
        tracing::warn!(%error, "containers not stopped to be restarted");
        return false;
    }
    for container in &view.containers {
        match node.runtime.remove_container(&container.id).await {
            Ok(()) | Err(runtime::Error::NotFound(_)) => {}
            Err(error) => {
                tracing::warn!(%error, "container not removed to be restarted");
                return false;
            }
        }
    }
    true
}
