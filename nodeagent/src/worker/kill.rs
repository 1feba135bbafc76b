//! Stopping containers: the hook first, then the signal, within the grace period.
//!
//! Invariant: a container gets at least two seconds to stop, and sidecars stop after those that may need them.
//! Follows `killContainer` in `pkg/kubelet/kuberuntime/kuberuntime_container.go` and `kuberuntime_termination_order.go`.

use std::{sync::Arc, time::Duration};

use futures::future::join_all;
use k8s_openapi::api::core::v1::{Container, Pod};
use skiff_podspec::containers::sidecars;
use tokio_util::sync::CancellationToken;

use super::hooks;
use crate::{
    agent::context::Context,
    pod::{
        actions::KillReason,
        handle::Handle,
        names::{self, spec},
        view::annotation,
    },
    runtime::{self, ContainerState},
    time,
};

const LEAST_SECONDS: i64 = 2;

/// Seconds that a container gets when it is killed for `reason`.
pub fn grace_period(pod: &Pod, container: Option<&Container>, reason: KillReason) -> i64 {
    let own = match (
        pod.metadata.deletion_grace_period_seconds,
        spec(pod).termination_grace_period_seconds,
    ) {
        (Some(deletion), _) => deletion,
        (None, Some(own)) => own,
        (None, None) => LEAST_SECONDS,
    };
    if pod.metadata.deletion_grace_period_seconds.is_some() {
        return own;
    }
    let probe = match reason {
        KillReason::LivenessProbe => {
            container.and_then(|container| container.liveness_probe.as_ref())
        }
        KillReason::StartupProbe => {
            container.and_then(|container| container.startup_probe.as_ref())
        }
        KillReason::Other => None,
    };
    probe
        .and_then(|probe| probe.termination_grace_period_seconds)
        .unwrap_or(own)
}

/// Which containers have to have ended before one may be stopped.
#[derive(Default)]
pub struct Order {
    ended: Vec<(String, CancellationToken)>,
    /// Sidecars, in the order in which they started.
    sidecars: Vec<String>,
}

impl Order {
    /// For a pod whose containers of these names run.
    pub fn new(pod: &Pod, running: &[String]) -> Self {
        let sidecars = sidecars(spec(pod)).map(|container| container.name.clone());
        Self {
            ended: running
                .iter()
                .map(|name| (name.clone(), CancellationToken::new()))
                .collect(),
            sidecars: sidecars.collect(),
        }
    }

    /// The containers that `name` waits for: a sidecar waits for all regular ones and for the sidecars after it.
    fn before(&self, name: &str) -> Vec<CancellationToken> {
        let Some(place) = self.sidecars.iter().position(|sidecar| sidecar == name) else {
            return Vec::new();
        };
        let later = &self.sidecars[place + 1..];
        let waits_for = |other: &String| !self.sidecars.contains(other) || later.contains(other);
        self.ended
            .iter()
            .filter(|(other, _)| waits_for(other))
            .map(|(_, token)| token.clone())
            .collect()
    }

    async fn wait(&self, name: &str, limit: Duration) {
        let all = join_all(
            self.before(name)
                .iter()
                .map(|token| token.clone().cancelled_owned())
                .collect::<Vec<_>>(),
        );
        // When the time is up the container is stopped all the same.
        time::timeout(limit, all).await.unwrap_or_default();
    }

    fn note_end(&self, name: &str) {
        self.ended
            .iter()
            .filter(|(other, _)| other == name)
            .for_each(|(_, token)| token.cancel());
    }
}

/// Stops one container. `seconds`: the grace period; `message`: for the event.
pub async fn container(
    node: &Context,
    handle: &Handle,
    state: &ContainerState,
    seconds: i64,
    message: &str,
    order: Option<&Order>,
) -> Result<(), runtime::Error> {
    let pod = handle.pod();
    let text = if message.is_empty() {
        format!("Stopping container {}", state.name)
    } else {
        message.to_owned()
    };
    let about = names::container_reference(&pod, &state.name);
    node.events.normal(about.clone(), "Killing", text);
    let mut left = Duration::from_secs(u64::try_from(seconds).unwrap_or(0));
    let began = time::Instant::now();
    let spent = |left: Duration| left.saturating_sub(began.elapsed());
    let hook = names::find_container(&pod, &state.name).filter(|_| seconds > 0);
    if let Some((container, handler)) = hook.and_then(|(_, container)| {
        let handler = container.lifecycle.as_ref()?.pre_stop.clone()?;
        Some((container, handler))
    }) {
        let ip = handle.first_ip();
        let hook = hooks::run(node, &pod, &container, &state.id, &ip, &handler);
        match time::timeout(left, hook).await {
            Some(Err(error)) => {
                tracing::debug!(%error, container = state.name, "preStop hook failed");
                node.events
                    .warn(about, "FailedPreStopHook", "PreStopHook failed");
            }
            Some(Ok(())) => {}
            None => tracing::debug!(
                container = state.name,
                "preStop hook not done within the grace period"
            ),
        }
    }
    if let Some(order) = order {
        order.wait(&state.name, spent(left)).await;
    }
    left = spent(left).max(Duration::from_secs(LEAST_SECONDS as u64));
    let stopped = match node.runtime.stop_container(&state.id, left).await {
        Err(runtime::Error::NotFound(_)) => Ok(()),
        other => other,
    };
    if let Some(order) = order {
        order.note_end(&state.name);
    }
    stopped
}

/// Stops all running containers of the pod at once, sidecars in their order. A shorter grace period that the API sets meanwhile is obeyed.
pub async fn all(
    node: &Arc<Context>,
    handle: &Arc<Handle>,
    running: &[ContainerState],
) -> Result<(), runtime::Error> {
    let pod = handle.pod();
    let names: Vec<String> = running.iter().map(|state| state.name.clone()).collect();
    let order = Order::new(&pod, &names);
    let verdict = handle
        .state
        .lock()
        .failed
        .as_ref()
        .and_then(|verdict| verdict.grace);
    let kills = join_all(running.iter().map(|state| {
        let container = names::find_container(&pod, &state.name).map(|(_, container)| container);
        let orphan = state
            .annotations
            .get(annotation::GRACE)
            .and_then(|grace| grace.parse().ok());
        let seconds = if handle.gone.is_cancelled() {
            1
        } else if let Some(seconds) = verdict {
            seconds
        } else {
            container
                .as_ref()
                .map(|c| grace_period(&pod, Some(c), KillReason::Other))
                .or(orphan)
                .unwrap_or(LEAST_SECONDS)
        };
        container_until_shortened(node, handle, state, seconds, &order)
    }));
    kills
        .await
        .into_iter()
        .find(Result::is_err)
        .unwrap_or(Ok(()))
}

/// Stops a container, and starts over with less time when the pod's deletion is hastened.
async fn container_until_shortened(
    node: &Context,
    handle: &Handle,
    state: &ContainerState,
    seconds: i64,
    order: &Order,
) -> Result<(), runtime::Error> {
    let kill = container(node, handle, state, seconds, "", Some(order));
    let hastened = async {
        loop {
            time::sleep(Duration::from_millis(200)).await;
            let now = handle.pod().metadata.deletion_grace_period_seconds;
            if handle.gone.is_cancelled() || now.is_some_and(|now| now < seconds) {
                return if handle.gone.is_cancelled() {
                    1
                } else {
                    now.unwrap_or(1)
                };
            }
        }
    };
    tokio::select! {
        done = kill => done,
        shorter = hastened => {
            let left = Duration::from_secs(u64::try_from(shorter.max(LEAST_SECONDS)).unwrap_or(2));
            let stopped = node.runtime.stop_container(&state.id, left).await;
            order.note_end(&state.name);
            match stopped {
                Err(runtime::Error::NotFound(_)) => Ok(()),
                other => other,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn grace_periods() {
        let container: Container =
            from_value(json!({"name": "c", "livenessProbe": {"terminationGracePeriodSeconds": 5}}))
                .unwrap();
        let pod = |deletion: Option<i64>| {
            from_value::<Pod>(json!({"metadata": {"deletionGracePeriodSeconds": deletion}, "spec": {"containers": [], "terminationGracePeriodSeconds": 30}}))
                .unwrap()
        };
        let table = [
            (None, KillReason::Other, 30),
            (None, KillReason::LivenessProbe, 5),
            (None, KillReason::StartupProbe, 30),
            (Some(7), KillReason::LivenessProbe, 7),
            (Some(0), KillReason::Other, 0),
        ];
        for (deletion, reason, expected) in table {
            assert_eq!(
                grace_period(&pod(deletion), Some(&container), reason),
                expected
            );
        }
    }

    #[test]
    fn sidecars_wait() {
        let side = |name: &str| json!({"name": name, "restartPolicy": "Always"});
        let pod: Pod = from_value(json!({"spec": {"initContainers": [side("s1"), side("s2")], "containers": [{"name": "c"}]}})).unwrap();
        let order = Order::new(&pod, &["s1".into(), "s2".into(), "c".into()]);
        assert_eq!(
            [
                order.before("c").len(),
                order.before("s2").len(),
                order.before("s1").len()
            ],
            [0, 1, 2]
        );
    }
}
