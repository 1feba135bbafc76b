//! The task of one pod: from the first sight of it until nothing of it is left.
//!
//! Invariant: the phases below are passed in order, never back; while a phase waits for something slow, the pod's status stays true.
//! Follows `pkg/kubelet/pod_workers.go`.

use std::{
    convert::Infallible,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use k8s_openapi::api::core::v1::Pod;

use super::{
    publish::publish,
    sandbox,
    sync::{self, Next},
    upkeep::Own,
};
use crate::{
    agent::context::Context,
    figures::Work,
    outcome::IfThere,
    pod::{
        handle::Handle,
        names::{self, is_terminal, name, namespace, uid},
    },
    probe::state::Type as ProbeType,
    runtime, time,
    volume::{self, During},
};

/// Where a pod stands in its life on this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// It is to run.
    Syncing,
    /// It is to end: containers are being stopped.
    Terminating,
    /// Nothing runs any more: what is left of it is being cleared away.
    Terminated,
    /// It is waited for the API to let go of it.
    Finished,
}

/// Runs the pod. Returns when it is gone, or when the agent stops (then its containers run on).
pub async fn run(node: Arc<Context>, handle: Arc<Handle>) {
    node.observer
        .register(uid(&handle.pod()), handle.wake.clone());
    let own = Own::default();
    let mut phase = begin(&handle);
    if phase == Phase::Syncing {
        node.figures.taken_up(handle.startup.seen().elapsed());
    }
    loop {
        phase = match phase {
            Phase::Syncing => tokio::select! {
                next = Box::pin(syncing(&node, &handle, &own)) => next,
                () = node.stop.cancelled() => return,
            },
            Phase::Terminating => tokio::select! {
                next = Box::pin(terminating(&node, &handle, &own)) => next,
                () = node.stop.cancelled() => return,
            },
            Phase::Terminated => tokio::select! {
                next = Box::pin(terminated(&node, &handle)) => next,
                () = node.stop.cancelled() => return,
            },
            Phase::Finished => {
                tokio::select! {
                    () = finished(&node, &handle) => {}
                    () = node.stop.cancelled() => return,
                }
                break;
            }
        };
    }
    node.observer.forget(uid(&handle.pod()));
    node.puller.forget(&handle.pod());
    handle.done.cancel();
}

/// The first phase: a pod that has ended, or was turned away, is only cleared away.
fn begin(handle: &Handle) -> Phase {
    let over = is_terminal(names::phase(&handle.pod()))
        || handle.ending.is_cancelled()
        || handle.state.lock().failed.is_some();
    if over {
        Phase::Terminating
    } else {
        Phase::Syncing
    }
}

async fn syncing(node: &Arc<Context>, handle: &Arc<Handle>, own: &Own) -> Phase {
    let mut work = Work::Create;
    loop {
        if handle.ending.is_cancelled() {
            return Phase::Terminating;
        }
        let began = time::Instant::now();
        let next = while_publishing(node, handle, sync::look(node, handle, own)).await;
        node.figures.worked(work, began.elapsed());
        work = Work::Sync;
        match next {
            Next::Terminate => return Phase::Terminating,
            Next::Again => {}
            Next::Wait(most) => tokio::select! {
                () = handle.wake.notified() => {}
                () = time::sleep(most) => {}
            },
        }
    }
}

/// Does `what`, and meanwhile keeps the status true. A wake-up that came meanwhile is passed on.
async fn while_publishing<T>(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    what: impl Future<Output = T>,
) -> T {
    let mut what = Box::pin(what);
    let mut woken = false;
    let done = loop {
        tokio::select! {
            biased;
            done = &mut what => break done,
            () = handle.wake.notified() => woken = true,
        }
        // Most wake-ups are the doing of `what` itself, and it looks for itself: give it a moment.
        tokio::select! {
            biased;
            done = &mut what => break done,
            () = time::sleep(Duration::from_millis(5)) => {}
        }
        tokio::select! {
            biased;
            done = &mut what => break done,
            seen = sync::observe(node, handle) => if let Err(error) = seen {
                tracing::warn!(%error, "runtime not listed");
            },
        }
    };
    if woken {
        handle.wake.notify_one();
    }
    done
}

async fn terminating(node: &Arc<Context>, handle: &Arc<Handle>, own: &Own) -> Phase {
    let began = time::Instant::now();
    handle.ending.cancel();
    own.probes
        .lock()
        .retain(|(_, type_), _| *type_ == ProbeType::Readiness);
    tokio::select! {
        () = stop(node, handle) => {}
        never = close_ports_of_the_forced(handle, own) => match never {},
    }
    own.probes.lock().clear();
    own.host_ports.lock().await.bring_to(&[]).await;
    node.allocations.remove(uid(&handle.pod()));
    handle.state.lock().terminal = true;
    super::resize::grant::retry(node);
    publish(node, handle);
    node.figures.worked(Work::Kill, began.elapsed());
    Phase::Terminated
}

/// Gives the node's ports back as soon as the API has let go of the pod, whatever still runs of it: its replacement is on its way.
async fn close_ports_of_the_forced(handle: &Handle, own: &Own) -> Infallible {
    handle.gone.cancelled().await;
    own.host_ports.lock().await.bring_to(&[]).await;
    std::future::pending().await
}

/// Stops the pod's containers, however often that must be tried.
async fn stop(node: &Arc<Context>, handle: &Arc<Handle>) {
    loop {
        let stop = async {
            let view = sync::observe(node, handle).await?;
            let running: Vec<_> = view.running().cloned().collect();
            let stopped = sync::stop_all(node, handle, &view, &running).await;
            let left = sync::observe(node, handle).await?.running().count();
            Ok::<bool, runtime::Error>(stopped && left == 0)
        };
        match while_publishing(node, handle, stop).await {
            Ok(true) => return,
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, pod = name(&handle.pod()), "pod not stopped"),
        }
        time::sleep(Duration::from_secs(1)).await;
    }
}

async fn terminated(node: &Arc<Context>, handle: &Arc<Handle>) -> Phase {
    let began = time::Instant::now();
    let pod = handle.pod();
    node.objects.watch(
        uid(&pod),
        namespace(&pod),
        &Default::default(),
        &handle.wake,
    );
    let dir = node.config.pod_dir(uid(&pod));
    until_done(&pod, "volumes not taken down", || tear_down(dir.clone())).await;
    handle.state.lock().finished = true;
    publish(node, handle);
    node.figures.worked(Work::Terminated, began.elapsed());
    Phase::Finished
}

/// Tries until it is done: what a pod leaves behind is nobody else's to clear away.
async fn until_done<E: std::fmt::Display, F: Future<Output = Result<(), E>>>(
    pod: &Pod,
    trouble: &str,
    what: impl Fn() -> F,
) {
    let mut pause = Duration::from_secs(1);
    while let Err(error) = what().await {
        tracing::warn!(%error, pod = name(pod), namespace = namespace(pod), "{trouble}; trying again");
        time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_secs(30));
    }
}

async fn tear_down(pod_dir: PathBuf) -> Result<(), volume::Error> {
    let torn_down = tokio::task::spawn_blocking(move || volume::tear_down(&pod_dir)).await;
    torn_down
        .map_err(std::io::Error::from)
        .during(|| "take volumes down".to_owned())?
}

async fn remove_folder(path: &Path) -> std::io::Result<()> {
    tokio::fs::remove_dir_all(path).await.if_there().map(drop)
}

/// How long a pod's network outlives its containers: until their last words to their clients have left it, and so that who comes late is refused at
/// once instead of asking an address that nobody has.
const AFTERGLOW: Duration = Duration::from_secs(1);

async fn finished(node: &Arc<Context>, handle: &Arc<Handle>) {
    tokio::join!(
        take_network_down(node, handle),
        remove_the_rest(node, handle)
    );
}

async fn take_network_down(node: &Arc<Context>, handle: &Arc<Handle>) {
    let pod = handle.pod();
    if node.network.is_some() && !names::is_host_network(&pod) {
        time::sleep(AFTERGLOW).await;
        until_done(&pod, "network not taken down", || {
            sandbox::take_network_back(node, &pod)
        })
        .await;
    }
}

/// Waits for the API to let go of the pod, then removes what was kept for its logs' sake.
async fn remove_the_rest(node: &Arc<Context>, handle: &Arc<Handle>) {
    while !handle.gone.is_cancelled() {
        tokio::select! {
            () = handle.wake.notified() => {
                if handle.pod().metadata.deletion_timestamp.is_some() {
                    publish(node, handle);
                }
            }
            () = handle.gone.cancelled() => {}
        }
    }
    let pod = handle.pod();
    until_done(&pod, "sandboxes not removed", || {
        remove_sandboxes(node, &pod)
    })
    .await;
    let logs = sandbox::log_dir(node, &pod);
    until_done(&pod, "logs not removed", || remove_folder(&logs)).await;
}

/// Removes all of them, past those that fail.
async fn remove_sandboxes(node: &Context, pod: &Pod) -> Result<(), runtime::Error> {
    let mut outcome = Ok(());
    // Those too that cannot be read whole.
    for sandbox in node
        .runtime
        .list()
        .await?
        .iter()
        .filter(|sandbox| sandbox.spec.pod_uid == uid(pod))
    {
        outcome = outcome.and(node.runtime.remove_sandbox(&sandbox.id).await);
    }
    outcome
}
