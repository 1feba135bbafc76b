//! Bringing a pod's status to the API, and deleting the pod there when it has ended.
//!
//! Invariant: at most one publisher a pod; it goes on until what it wrote is what was last computed.
//! Follows `syncPod` in `pkg/kubelet/status/status_manager.go`.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use skiff_watching::{
    Error,
    api::{Delete, PatchType, item},
};

use super::{
    handle::Handle,
    names::{is_terminal, name, namespace, uid},
    status::{self, Facts},
};
use crate::{agent::context::Context, time};

/// Computes the status anew and sees to it that the API learns of it.
pub fn publish(node: &Arc<Context>, handle: &Arc<Handle>) {
    let pod = handle.pod();
    let mut state = handle.state.lock();
    let fresh = status::generate(&Facts {
        pod: &pod,
        old: &state.status,
        view: &state.view,
        reasons: &state.reasons,
        messages: &state.messages,
        probes: &state.probes,
        in_post_start: &state.in_post_start,
        ips: &state.ips,
        host_ips: &node.host_ips,
        terminal: state.terminal,
        finished: state.finished,
        failed: state.failed.as_ref(),
        resize: &state.resize.list(),
    });
    if fresh.phase.as_deref() == Some("Running") {
        handle.startup.runs(&node.figures);
    }
    state.status = fresh;
    state.dirty = true;
    if !state.publishing && !handle.gone.is_cancelled() {
        state.publishing = true;
        drop(state);
        skiff_watching::task::spawn(write_until_true(node.clone(), handle.clone()));
    }
}

async fn write_until_true(node: Arc<Context>, handle: Arc<Handle>) {
    let mut failures = 0u32;
    loop {
        let (from, to, finished) = {
            let mut state = handle.state.lock();
            if !state.dirty {
                state.publishing = false;
                return;
            }
            state.dirty = false;
            (state.in_api.clone(), state.status.clone(), state.finished)
        };
        match write(&node, &handle, &from, to, finished).await {
            Ok(()) => failures = 0,
            Err(error) => {
                let pod = handle.pod();
                tracing::warn!(%error, pod = name(&pod), namespace = namespace(&pod), "pod status not written");
                failures += 1;
                handle.state.lock().dirty = true;
                tokio::select! {
                    () = time::sleep(Duration::from_millis(100 << failures.min(7))) => {}
                    () = node.stop.cancelled() => return,
                    () = handle.gone.cancelled() => return,
                }
            }
        }
    }
}

/// Writes one status. A pod that the API no longer has, or has anew, is nothing to write about.
async fn write(
    node: &Context,
    handle: &Handle,
    from: &PodStatus,
    to: PodStatus,
    finished: bool,
) -> Result<(), Error> {
    let pod = handle.pod();
    let path = item::<Pod>(namespace(&pod), name(&pod));
    let mut phase = from.phase.clone();
    if let Some(patch) = status::patch(
        uid(&pod),
        from,
        &delayed(from, to, finished || handle.state.lock().terminal),
    ) {
        match node
            .api
            .patch_object::<Pod>(&format!("{path}/status"), PatchType::Strategic, &patch)
            .await
        {
            Ok(written) if written.metadata.uid == pod.metadata.uid => {
                let status = written.status.unwrap_or_default();
                phase.clone_from(&status.phase);
                handle.state.lock().in_api = status;
            }
            Ok(_) => return Ok(()),
            Err(error) if error.is_not_found() || error.is_conflict() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
    if finished
        && pod.metadata.deletion_timestamp.is_some()
        && phase.as_deref().is_some_and(is_terminal)
    {
        let options = Delete {
            grace_seconds: Some(0),
            ..Delete::of_uid(uid(&pod))
        };
        match node.api.delete_path(&path, &options).await {
            Err(error) if !error.is_not_found() && !error.is_conflict() => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A terminal phase is told only once nothing of the pod runs any more.
fn delayed(from: &PodStatus, mut to: PodStatus, stopped: bool) -> PodStatus {
    let terminal = |status: &PodStatus| status.phase.as_deref().is_some_and(is_terminal);
    if !stopped && terminal(&to) && !terminal(from) {
        to.phase.clone_from(&from.phase);
        to.reason.clone_from(&from.reason);
        to.message.clone_from(&from.message);
    }
    to
}
