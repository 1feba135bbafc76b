//! The task of one probe of one container.
//!
//! Invariant: a result is written down and told at once; the task ends with its container.
//! Follows `pkg/kubelet/prober/worker.go`. As upstream does on every status update, a container that has never been ready is probed out of turn:
//! the first runs come quickly after one another, and only successes among them count.

use std::{sync::Arc, time::Duration};

use k8s_openapi::api::core::v1::{Container, Probe};

use super::run::{self, Outcome};
use crate::{
    agent::context::Context,
    figures::probes,
    pod::{handle::Handle, names},
    probe::state::{Counter, Step, Type},
    runtime::ContainerState,
    time,
    worker::publish::publish,
};

/// The first pause between runs out of turn; it doubles until it reaches the period.
const EAGER: Duration = Duration::from_millis(125);

/// One probe of one running container.
pub struct Task {
    pub node: Arc<Context>,
    pub handle: Arc<Handle>,
    pub container: Container,
    pub state: ContainerState,
    pub type_: Type,
}

fn spec_of(container: &Container, type_: Type) -> Option<&Probe> {
    match type_ {
        Type::Startup => container.startup_probe.as_ref(),
        Type::Liveness => container.liveness_probe.as_ref(),
        Type::Readiness => container.readiness_probe.as_ref(),
    }
}

/// The probes that the container has.
pub fn types(container: &Container) -> impl Iterator<Item = Type> {
    [Type::Startup, Type::Liveness, Type::Readiness]
        .into_iter()
        .filter(|type_| spec_of(container, *type_).is_some())
}

fn seconds(value: Option<i32>, default: u64) -> Duration {
    Duration::from_secs(
        value
            .and_then(|value| u64::try_from(value).ok())
            .unwrap_or(default),
    )
}

impl Task {
    /// Probes until the probe has nothing more to say. To be aborted when the container ends.
    pub async fn run(self) {
        let Some(probe) = spec_of(&self.container, self.type_).cloned() else {
            return;
        };
        let period = seconds(probe.period_seconds, 10).max(Duration::from_secs(1));
        let started = self.state.started_at.unwrap_or(self.state.created_at);
        time::sleep_until(time::after(
            started,
            seconds(probe.initial_delay_seconds, 0),
        ))
        .await;
        self.wait_for_start().await;
        let mut counter =
            Counter::new(self.type_, probe.success_threshold, probe.failure_threshold);
        let mut eager = (self.type_ != Type::Liveness).then_some(EAGER);
        let mut next = time::Instant::now();
        let runs = self.node.figures.probes.begins(self.whose());
        loop {
            let in_turn = time::Instant::now() >= next;
            if in_turn {
                next = time::Instant::now() + period;
            }
            let success = self.once(&probe, in_turn).await;
            runs.count(match success {
                Some(true) => probes::Result::Successful,
                Some(false) => probes::Result::Failed,
                None => probes::Result::Unknown,
            });
            let counts = success == Some(true) || in_turn;
            if let (Some(success), true) = (success, counts) {
                match counter.take(success) {
                    Step::Unchanged => {}
                    Step::Set(result) => self.set(result),
                    Step::SetAndRest(result) => return self.set(result),
                }
            }
            if success == Some(true) {
                eager = None;
            }
            let left = next.saturating_duration_since(time::Instant::now());
            let pause = eager.map_or(left, |eager| eager.min(left));
            eager = eager.map(|eager| eager * 2).filter(|eager| *eager < period);
            time::sleep(pause).await;
        }
    }

    /// Liveness and readiness wait until the container has started in the sense of its startup probe and hook.
    async fn wait_for_start(&self) {
        if self.type_ == Type::Startup {
            return;
        }
        let mut moved = self.handle.moved.subscribe();
        loop {
            let ready = {
                let state = self.handle.state.lock();
                let results = state
                    .probes
                    .get(&self.state.id)
                    .copied()
                    .unwrap_or_default();
                let hooked = state.in_post_start.contains(&self.state.id);
                !hooked && (self.container.startup_probe.is_none() || results.startup == Some(true))
            };
            if ready {
                return;
            }
            if moved.changed().await.is_err() {
                return;
            }
        }
    }

    /// Runs once; `None` when the run does not count. Runs out of turn leave no events.
    async fn once(&self, probe: &Probe, in_turn: bool) -> Option<bool> {
        let pod = self.handle.pod();
        let (node, container) = (&self.node, &self.container);
        let ip = self.handle.first_ip();
        let outcome = run::run(node, &pod, container, &self.state.id, &ip, probe).await;
        let event = |reason: &str, message: String| {
            if in_turn {
                let about = names::container_reference(&pod, &container.name);
                node.events.warn(about, reason, message);
            }
        };
        let word = self.type_.word();
        match outcome {
            Outcome::Success => Some(true),
            Outcome::Warning(output) => {
                event("ProbeWarning", format!("{word} probe warning: {output}"));
                Some(true)
            }
            Outcome::Failure(output) => {
                event("Unhealthy", format!("{word} probe failed: {output}"));
                Some(false)
            }
            Outcome::Error(error) => {
                event(
                    "Unhealthy",
                    format!("{word} probe errored and resulted in unknown state: {error}"),
                );
                None
            }
        }
    }

    /// What its runs are counted under.
    fn whose(&self) -> probes::Of {
        let pod = self.handle.pod();
        probes::Of {
            kind: self.type_.word(),
            container: self.container.name.clone(),
            pod: names::name(&pod).to_owned(),
            namespace: names::namespace(&pod).to_owned(),
            uid: names::uid(&pod).to_owned(),
        }
    }

    fn set(&self, result: bool) {
        let changed = {
            let mut state = self.handle.state.lock();
            let slot = state.probes.entry(self.state.id.clone()).or_default();
            self.type_.slot(slot).replace(result) != Some(result)
        };
        if changed {
            self.handle.moved.send_replace(());
            publish(&self.node, &self.handle);
            self.handle.wake.notify_one();
        }
    }
}
