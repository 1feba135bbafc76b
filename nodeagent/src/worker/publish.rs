//! Bringing a pod's status to the API, and deleting the pod there when it has ended.
//!
//! Invariant: at most one publisher a pod; it goes on until what it wrote is what was last computed.
//! Follows `syncPod` in `pkg/kubelet/status/status_manager.go`. Upstream looks for containers once a second, so that what ends at once is never told to
//! run; here it is told after a [moment](MOMENT).

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use skiff_watching::{
    Error,
    api::{Delete, PatchType, item},
};

use crate::{
    agent::context::Context,
    pod::{
        facts::Facts,
        handle::{Handle, State},
        names::{is_terminal, name, namespace, spec, uid},
        status,
    },
    time,
};

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
    handle.computed.notify_one();
    if !state.publishing && !handle.gone.is_cancelled() {
        state.publishing = true;
        drop(state);
        skiff_watching::task::spawn(write_until_true(node.clone(), handle.clone()));
    }
}

/// For how long containers of a pod that is to end must have run until the pod is told to run. Who sees a pod run attaches to it, and must not come
/// too late (`kubectl run -i` then shows twice what the container wrote). Pods that run for ever wait for nothing.
const MOMENT: Duration = Duration::from_millis(100);

/// For how long the status is not told yet.
fn held(pod: &Pod, state: &State, now: Timestamp) -> Option<Duration> {
    let runs = |status: &PodStatus| status.phase.as_deref() == Some("Running");
    if spec(pod).restart_policy.as_deref() == Some("Always")
        || !runs(&state.status)
        || runs(&state.in_api)
    {
        return None;
    }
    let started = state.view.running().filter_map(|of| of.started_at).max()?;
    let ran = Duration::try_from(now.duration_since(started)).unwrap_or(MOMENT);
    MOMENT.checked_sub(ran).filter(|left| !left.is_zero())
}

/// Waits until the status may be told, or is another.
async fn hold(node: &Context, handle: &Handle) {
    if node.config.simulated {
        return;
    }
    let pod = handle.pod();
    let left = || held(&pod, &handle.state.lock(), time::now());
    while let Some(left) = left() {
        tokio::select! {
            () = time::sleep(left) => {}
            () = handle.computed.notified() => {}
        }
    }
}

async fn write_until_true(node: Arc<Context>, handle: Arc<Handle>) {
    let mut failures = 0u32;
    loop {
        hold(&node, &handle).await;
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

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};
    use skiff_testing::With;

    use super::*;
    use crate::{pod::view::tests::container, runtime::ContainerPhase};

    #[test]
    fn what_may_end_at_once_is_told_to_run_after_a_moment() {
        let at = |millis: i64| Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap();
        let left = |policy: &str, computed: &str, told: &str, now: i64| {
            let pod: Pod =
                from_value(json!({"spec": {"containers": [], "restartPolicy": policy}})).unwrap();
            let status = |phase: &str| PodStatus {
                phase: Some(phase.to_owned()),
                ..Default::default()
            };
            let mut state = State {
                status: status(computed),
                in_api: status(told),
                ..Default::default()
            };
            state.view.containers = [0, 8]
                .map(|started| {
                    container("c", ContainerPhase::Running, None)
                        .with(|c| c.started_at = Some(at(started)))
                })
                .into();
            held(&pod, &state, at(now)).map(|left| left.as_millis())
        };
        for policy in ["Never", "OnFailure"] {
            assert_eq!(left(policy, "Running", "Pending", 8), Some(100));
            assert_eq!(left(policy, "Running", "Pending", 107), Some(1));
            assert_eq!(left(policy, "Running", "Pending", 108), None);
            assert_eq!(left(policy, "Running", "Running", 8), None);
            for at_once in ["Succeeded", "Failed", "Pending"] {
                assert_eq!(left(policy, at_once, "Pending", 8), None, "{at_once}");
            }
        }
        assert_eq!(left("Always", "Running", "Pending", 8), None);
        let before = left("Never", "Running", "Pending", -60_000);
        assert_eq!(before, None, "the clock was set back");
    }
}
