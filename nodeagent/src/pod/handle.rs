//! What others may know of a pod's task, and how they wake it.
//!
//! Invariant: `state` is written only by the pod's own task (and the probes and publisher that belong to it).

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use k8s_openapi::api::core::v1::{Pod, PodStatus};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{
    admission::Rejection, allocation::Granted, backoff::Backoff, containers::Waiting, mounted,
    names::uid, resize, startup::Startup, unmounted, view::PodView,
};
use crate::{config::Config, disk, outcome::IfThere, probe::state::Results};

/// The file in the pod's folder that tells what it was granted.
const GRANTED: &str = "granted.json";

/// One pod of this node.
pub struct Handle {
    specs: RwLock<Specs>,
    /// Something changed: the pod is to be looked at.
    pub wake: Arc<Notify>,
    /// The API no longer has the pod.
    pub gone: CancellationToken,
    /// The pod is to end: whatever waits for something else gives up.
    pub ending: CancellationToken,
    /// The task is over.
    pub done: CancellationToken,
    /// Sent whenever a probe's result changed or a postStart hook came back.
    pub moved: watch::Sender<()>,
    pub state: Mutex<State>,
    /// The status was computed anew.
    pub computed: Notify,
    /// How long it takes until the pod runs.
    pub startup: Startup,
}

/// What the pod is to be.
struct Specs {
    /// As the API last had it.
    desired: Arc<Pod>,
    /// The same with the resources that the node granted: what it runs as.
    pod: Arc<Pod>,
    granted: Granted,
}

/// What the pod's task remembers.
#[derive(Default)]
pub struct State {
    /// What was last computed.
    pub status: PodStatus,
    /// What the API has, as far as known.
    pub in_api: PodStatus,
    pub view: PodView,
    pub ips: Vec<IpAddr>,
    pub reasons: HashMap<String, Waiting>,
    pub messages: HashMap<String, String>,
    pub probes: HashMap<String, Results>,
    pub in_post_start: Vec<String>,
    pub backoff: Backoff,
    pub volumes: mounted::All,
    pub unmounted: unmounted::Failures,
    /// A verdict on the pod as a whole.
    pub failed: Option<Verdict>,
    /// What is told of a resize of the running pod.
    pub resize: resize::Conditions,
    /// Nothing will be started any more.
    pub terminal: bool,
    /// All that the pod had on this node is gone but its logs.
    pub finished: bool,
    /// The publisher is under way.
    pub publishing: bool,
    /// The status changed since the publisher last looked.
    pub dirty: bool,
}

/// Why a pod as a whole has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub reason: String,
    pub message: String,
    /// The node did not take it: nothing of it was ever here.
    pub rejected: bool,
    /// Seconds that its containers get to end, in place of their own.
    pub grace: Option<i64>,
}

impl Verdict {
    /// `rejectPod` in `pkg/kubelet/kubelet.go`.
    pub fn rejected(Rejection { reason, message }: Rejection) -> Self {
        Self {
            reason,
            message: format!("Pod was rejected: {message}"),
            rejected: true,
            grace: None,
        }
    }

    pub fn ended(reason: &str, message: &str) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.to_owned(),
            rejected: false,
            grace: None,
        }
    }

    /// `evictPod` in `pkg/kubelet/eviction/eviction_manager.go`.
    pub fn evicted(message: &str) -> Self {
        Self {
            grace: Some(1),
            ..Self::ended("Evicted", message)
        }
    }
}

/// Whether nothing but the status (and what the API server itself notes down) differs.
fn says_the_same(a: &Pod, b: &Pod) -> bool {
    let (old, new) = (&a.metadata, &b.metadata);
    a.spec == b.spec
        && old.deletion_timestamp == new.deletion_timestamp
        && old.deletion_grace_period_seconds == new.deletion_grace_period_seconds
        && old.labels == new.labels
        && old.annotations == new.annotations
        && old.generation == new.generation
}

impl Handle {
    pub fn new(pod: Arc<Pod>) -> Self {
        let startup = Startup::of(&pod);
        let known = pod.status.clone().unwrap_or_default();
        let state = State {
            resize: resize::Conditions::of(&known),
            status: known.clone(),
            in_api: known,
            ..Default::default()
        };
        Self {
            specs: RwLock::new(Specs {
                granted: Granted::of(&pod),
                desired: pod.clone(),
                pod,
            }),
            wake: Arc::new(Notify::new()),
            gone: CancellationToken::new(),
            ending: CancellationToken::new(),
            done: CancellationToken::new(),
            moved: watch::Sender::new(()),
            state: Mutex::new(state),
            computed: Notify::new(),
            startup,
        }
    }

    /// The pod, with the resources that it was granted.
    pub fn pod(&self) -> Arc<Pod> {
        self.specs.read().pod.clone()
    }

    /// The first of its addresses, as text; empty as long as it has none.
    pub fn first_ip(&self) -> String {
        let state = self.state.lock();
        state
            .ips
            .first()
            .map(ToString::to_string)
            .unwrap_or_default()
    }

    /// The pod as the API has it.
    pub fn desired(&self) -> Arc<Pod> {
        self.specs.read().desired.clone()
    }

    /// Whether the pod asks for other resources than it was granted, and could get them.
    pub fn wants_resize(&self) -> bool {
        let differs = {
            let specs = self.specs.read();
            !Arc::ptr_eq(&specs.desired, &specs.pod)
        };
        differs && !self.ending.is_cancelled() && {
            let state = self.state.lock();
            state.failed.is_none() && !state.terminal
        }
    }

    /// Gives the pod these resources, and notes that down for the next agent.
    pub fn grant(&self, config: &Config, granted: Granted) -> std::io::Result<()> {
        let uid = {
            let mut specs = self.specs.write();
            specs.pod = granted.apply(&specs.desired);
            specs.granted = granted.clone();
            uid(&specs.desired).to_owned()
        };
        if config.simulated {
            return Ok(());
        }
        let dir = config.pod_dir(&uid);
        std::fs::create_dir_all(&dir)?;
        disk::write_whole(&dir.join(GRANTED), &serde_json::to_vec(&granted)?)
    }

    /// What an earlier agent granted the pod.
    pub fn take_up_granted(&self, config: &Config) -> std::io::Result<()> {
        let uid = uid(&self.desired()).to_owned();
        let file = config.pod_dir(&uid).join(GRANTED);
        let Some(bytes) = std::fs::read(file).if_there()? else {
            return Ok(());
        };
        let granted: Granted = serde_json::from_slice(&bytes)?;
        let mut specs = self.specs.write();
        specs.pod = granted.apply(&specs.desired);
        specs.granted = granted;
        Ok(())
    }

    /// Takes what the API has now.
    pub fn update(&self, pod: Arc<Pod>) {
        let ends = pod.metadata.deletion_timestamp.is_some();
        let fresh = pod.status.clone().unwrap_or_default();
        let status_is_known =
            std::mem::replace(&mut self.state.lock().in_api, fresh.clone()) == fresh;
        let old = {
            let mut specs = self.specs.write();
            specs.pod = specs.granted.apply(&pod);
            std::mem::replace(&mut specs.desired, pod.clone())
        };
        if ends {
            self.ending.cancel();
        }
        if !(status_is_known && says_the_same(&old, &pod)) {
            self.wake.notify_one();
        }
    }

    /// The API no longer has the pod.
    pub fn vanish(&self) {
        self.gone.cancel();
        self.ending.cancel();
        self.wake.notify_one();
    }

    /// The pod with the status that this node computed last, for the node's API.
    pub fn with_status(&self) -> Pod {
        let mut pod = (*self.pod()).clone();
        pod.status = Some(self.state.lock().status.clone());
        pod
    }
}
