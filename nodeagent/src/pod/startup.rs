//! How long it takes until a pod runs, and which of that is the node's doing.
//!
//! Invariant: each pod is told of once; one that an earlier agent has begun with, or that nobody could place at first, not at all.
//! Follows `pkg/kubelet/util/pod_startup_latency_tracker.go`.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use k8s_openapi::api::core::v1::{Pod, Volume};

use super::{
    names::{self, is_terminal, spec},
    view::PodView,
};
use crate::{
    figures::Figures,
    runtime::ContainerPhase,
    time::{self, Instant},
};

/// What is remembered of it.
pub struct Startup {
    seen: Instant,
    /// Nanoseconds that images were pulled for it.
    pulled: AtomicU64,
    ran: AtomicBool,
    told: AtomicBool,
}

/// Whether somebody had to do something before the pod could be placed.
fn was_unschedulable(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let conditions = status.and_then(|status| status.conditions.as_ref());
    let mut conditions = conditions.into_iter().flatten();
    conditions.any(|of| of.type_ == "PodScheduled" && of.status == "False")
}

/// Whether it has a volume whose content is not the API's or its own.
fn is_stateful(pod: &Pod) -> bool {
    let stateless = |volume: &Volume| {
        volume.secret.is_some()
            || volume.config_map.is_some()
            || volume.downward_api.is_some()
            || volume.empty_dir.is_some()
            || volume.projected.is_some()
    };
    let mut volumes = spec(pod).volumes.iter().flatten();
    volumes.any(|volume| !stateless(volume))
}

/// Whether the API tells of all containers that they run.
fn is_told_to_run(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let runs = names::phase(pod) == "Running";
    runs && containers.into_iter().flatten().all(|of| {
        let running = of.state.as_ref().and_then(|state| state.running.as_ref());
        running.is_some_and(|running| running.started_at.is_some())
    })
}

/// How long init containers ran that are over.
fn initializing(pod: &Pod, view: &PodView) -> Duration {
    let is_init = |name: &str| {
        let mut inits = spec(pod).init_containers.iter().flatten();
        inits.any(|init| init.name == name)
    };
    let over = view
        .containers
        .iter()
        .filter(|container| container.phase == ContainerPhase::Exited && is_init(&container.name));
    let times = over.filter_map(|container| {
        let ran = container.finished_at?.duration_since(container.started_at?);
        Duration::try_from(ran).ok()
    });
    times.sum()
}

impl Startup {
    /// The node sees a pod for the first time.
    pub fn of(pod: &Pod) -> Startup {
        let begun = pod
            .status
            .as_ref()
            .is_some_and(|status| status.start_time.is_some());
        Startup {
            seen: Instant::now(),
            pulled: AtomicU64::new(0),
            ran: AtomicBool::new(begun),
            told: AtomicBool::new(begun || was_unschedulable(pod)),
        }
    }

    /// Since when the node knows the pod.
    pub fn seen(&self) -> Instant {
        self.seen
    }

    /// An image was pulled for it.
    pub fn pulled(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.pulled.fetch_add(nanos, Ordering::Relaxed);
    }

    /// It runs, as the node has it.
    pub fn runs(&self, figures: &Figures) {
        if !self.ran.swap(true, Ordering::Relaxed) {
            figures.runs(self.seen.elapsed());
        }
    }

    /// The API has this of it now.
    pub fn heard(&self, pod: &Pod, view: impl FnOnce() -> PodView, figures: &Figures) {
        if self.told.load(Ordering::Relaxed) {
            return;
        }
        let over = is_terminal(names::phase(pod)) || was_unschedulable(pod);
        if !over && !is_told_to_run(pod) {
            return;
        }
        let told = self.told.swap(true, Ordering::Relaxed);
        if told || over {
            return;
        }
        let Some(made) = &pod.metadata.creation_timestamp else {
            return;
        };
        let took = time::since(made.0);
        let own = (!is_stateful(pod)).then(|| {
            let pulled = Duration::from_nanos(self.pulled.load(Ordering::Relaxed));
            took.saturating_sub(pulled)
                .saturating_sub(initializing(pod, &view()))
        });
        figures.told_to_run(took, own);
    }
}
