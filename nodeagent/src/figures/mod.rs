//! What a node counts: pods and containers that it starts, how long that takes, what the runtime is asked, and who asks the node.
//!
//! Invariant: to count waits for nobody but for a moment, and labels are of fixed sets; histograms are made when there is something in them, since one
//! process may be a thousand nodes.
//! Follows `pkg/kubelet/metrics/metrics.go` and `pkg/kubelet/server/metrics/metrics.go`.

mod text;

pub mod probes;
pub mod requests;

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

use parking_lot::Mutex;
use skiff_watching::tally::{Counter, Histogram, exponential};

pub use probes::Probes;
pub use requests::Requests;
pub use text::Present;

/// Upper ends of seconds where upstream says nothing else.
const USUAL: &[f64] = &[
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
];
/// Those of the seconds until a pod runs.
const STARTS: &[f64] = &[
    0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0, 30.0, 45.0, 60.0, 120.0, 180.0, 240.0,
    300.0, 360.0, 480.0, 600.0, 900.0, 1200.0, 1800.0, 2700.0, 3600.0,
];
/// Those of the seconds that the runtime takes.
const CALLS: &[f64] = &exponential::<14>(0.005, 2.5);

/// A histogram that is made when it is needed.
struct Late {
    bounds: &'static [f64],
    made: OnceLock<Box<Histogram>>,
}

impl Late {
    const fn new(bounds: &'static [f64]) -> Late {
        Late {
            bounds,
            made: OnceLock::new(),
        }
    }

    fn observe(&self, took: Duration) {
        let histogram = self
            .made
            .get_or_init(|| Box::new(Histogram::new(self.bounds)));
        histogram.observe(took.as_secs_f64());
    }
}

/// What a pod's task does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Work {
    /// It looks at the pod for the first time.
    Create,
    /// It looks at it again.
    Sync,
    /// It ends the pod's containers.
    Kill,
    /// It clears away what is left.
    Terminated,
}

const WORK: [&str; 4] = ["create", "sync", "kill", "terminated"];

/// What the runtime is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    RunSandbox,
    StopSandbox,
    RemoveSandbox,
    ListSandboxes,
    UpdateSandbox,
    CreateContainer,
    StartContainer,
    StopContainer,
    RemoveContainer,
    UpdateContainer,
    ReopenLog,
    Exec,
    Attach,
    ContainerStats,
    ListStats,
}

const CALL: [&str; 15] = [
    "run_podsandbox",
    "stop_podsandbox",
    "remove_podsandbox",
    "list_podsandbox",
    "update_podsandbox_resources",
    "create_container",
    "start_container",
    "stop_container",
    "remove_container",
    "update_container",
    "reopen_container_log",
    "exec",
    "attach",
    "container_stats",
    "list_podsandbox_stats",
];

/// Which kind a container is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Container {
    Regular,
    Init,
    Ephemeral,
}

const CONTAINER: [&str; 3] = ["container", "init_container", "ephemeral_container"];

/// Calls of one kind.
struct Calls {
    times: Late,
    failed: Counter,
}

impl Default for Calls {
    fn default() -> Calls {
        Calls {
            times: Late::new(CALLS),
            failed: Counter::default(),
        }
    }
}

/// Since the node's agent began.
pub struct Figures {
    /// Until a pod runs since the node saw it first.
    pod_start: Late,
    /// Until its clients know that since it was made: all of that, and without pulls and init containers.
    start_total: Late,
    start_own: Late,
    worker_start: Late,
    work: [Late; WORK.len()],
    calls: [Calls; CALL.len()],
    relist: Late,
    pods_started: Counter,
    pods_failed: Counter,
    containers_started: [Counter; CONTAINER.len()],
    containers_failed: Mutex<BTreeMap<(Container, String), u64>>,
    pub requests: Requests,
    pub probes: Arc<Probes>,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            pod_start: Late::new(STARTS),
            start_total: Late::new(STARTS),
            start_own: Late::new(STARTS),
            worker_start: Late::new(USUAL),
            work: [const { Late::new(USUAL) }; WORK.len()],
            calls: Default::default(),
            relist: Late::new(USUAL),
            pods_started: Counter::default(),
            pods_failed: Counter::default(),
            containers_started: Default::default(),
            containers_failed: Mutex::default(),
            requests: Requests::default(),
            probes: Arc::default(),
        }
    }
}

impl Figures {
    /// A pod runs so long after the node saw it first.
    pub fn runs(&self, took: Duration) {
        self.pod_start.observe(took);
    }

    /// The API tells that it runs, so long after it was made; `own` without what is not the node's doing, of pods that promises are made of.
    pub fn told_to_run(&self, took: Duration, own: Option<Duration>) {
        self.start_total.observe(took);
        if let Some(own) = own {
            self.start_own.observe(own);
        }
    }

    /// A pod's task began so long after the node saw the pod first.
    pub fn taken_up(&self, took: Duration) {
        self.worker_start.observe(took);
    }

    /// A pod's task did something.
    pub fn worked(&self, work: Work, took: Duration) {
        self.work[work as usize].observe(took);
    }

    /// The runtime answered.
    pub fn called(&self, call: Call, took: Duration, failed: bool) {
        let calls = &self.calls[call as usize];
        calls.times.observe(took);
        if failed {
            calls.failed.add(1);
        }
    }

    /// All containers were looked at.
    pub fn listed(&self, took: Duration) {
        self.relist.observe(took);
    }

    /// A pod is being started.
    pub fn starts_pod(&self) {
        self.pods_started.add(1);
    }

    /// It could not be.
    pub fn pod_not_started(&self) {
        self.pods_failed.add(1);
    }

    /// A container is being started.
    pub fn starts_container(&self, kind: Container) {
        self.containers_started[kind as usize].add(1);
    }

    /// It could not be, for a reason that waiting states have.
    pub fn container_not_started(&self, kind: Container, reason: &str) {
        let mut failed = self.containers_failed.lock();
        *failed.entry((kind, reason.to_owned())).or_default() += 1;
    }
}
