//! The scheduler: gives every pod that waits a node. A queue, a cycle, plugins at upstream's extension points, all over the shared caches.
//!
//! Invariant: one task owns cache and queue; a pod that was given a node counts there at once, before the API has it (assumed), and is taken
//! back when the binding fails. Follows `pkg/scheduler/{scheduler,schedule_one}.go`.

mod cache;
mod choose;
mod cycle;
mod diagnosis;
mod events;
mod framework;
mod hearing;
mod node;
mod nominator;
mod owners;
mod plugins;
mod pod;
mod preemption;
mod queue;
mod resources;
mod sending;
mod tally;
mod terms;
mod volumes;

use std::sync::Arc;

use futures::FutureExt;
use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    core::v1::{
        Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod, ReplicationController,
        Service,
    },
    policy::v1::PodDisruptionBudget,
    storage::v1::StorageClass,
};
use skiff_api::machinery::clock::SharedClock;
use skiff_watching::{
    api::Api,
    informer::{Cached, Change, Informers},
};
use tokio::sync::mpsc::{self, UnboundedSender};
use tokio_util::sync::CancellationToken;

/// How a scheduler is to run.
#[derive(Clone)]
pub struct Options {
    /// Pods with this `spec.schedulerName` are its own.
    pub scheduler_name: String,
    /// Bindings under way at once.
    pub parallelism: usize,
    pub clock: SharedClock,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            scheduler_name: "default-scheduler".into(),
            parallelism: 64,
            clock: skiff_api::machinery::clock::system(),
        }
    }
}

/// What happened to an object.
pub(crate) enum Event<K> {
    /// It is new or changed.
    Apply(Arc<K>),
    /// It is gone; this is the last that was seen of it.
    Delete(Arc<K>),
}

/// What the owner of the state hears of.
pub(crate) enum Heard {
    Pod(Event<Pod>),
    Node(Event<Node>),
    Claim(Event<PersistentVolumeClaim>),
    Volume(Event<PersistentVolume>),
    Class(Event<StorageClass>),
    Namespace(Event<Namespace>),
    Service(Event<Service>),
    Controller(Event<ReplicationController>),
    Set(Event<ReplicaSet>),
    Stateful(Event<StatefulSet>),
    Budget(Event<PodDisruptionBudget>),
    /// A binding came back.
    Bound {
        uid: Arc<str>,
        done: Result<(), String>,
    },
    /// A pod is not there any more.
    Gone {
        uid: Arc<str>,
    },
    /// Those were told to leave that a pod needs the room of, or could not be.
    RoomMade {
        uid: Arc<str>,
        failed: bool,
    },
}

/// Tells of every change of a kind, and completes when all that there was has been told.
fn follow<K: Cached>(
    informers: &Informers,
    tell: &UnboundedSender<Heard>,
    heard: fn(Event<K>) -> Heard,
) -> impl Future<Output = ()> + use<K> {
    let (informer, tell) = (informers.of::<K>(), tell.clone());
    informer.subscribe(move |change| {
        let event = match change {
            Change::Added(object) | Change::Updated { new: object, .. } => {
                Event::Apply(object.clone())
            }
            Change::Deleted(object) => Event::Delete(object.clone()),
        };
        // the receiver is gone only when the scheduler has ended
        let _ = tell.send(heard(event));
    });
    let mut synced = informer.synced();
    async move {
        let _ = synced.wait_for(|synced| *synced).await;
    }
}

/// Runs until `stop`: reads from `informers`, which may be shared, writes through `api`.
pub async fn run(api: Api, informers: Informers, options: Options, stop: CancellationToken) {
    let (tell, mut hear) = mpsc::unbounded_channel();
    let listed = futures::future::join_all([
        follow(&informers, &tell, Heard::Pod).boxed(),
        follow(&informers, &tell, Heard::Node).boxed(),
        follow(&informers, &tell, Heard::Claim).boxed(),
        follow(&informers, &tell, Heard::Volume).boxed(),
        follow(&informers, &tell, Heard::Class).boxed(),
        follow(&informers, &tell, Heard::Namespace).boxed(),
        follow(&informers, &tell, Heard::Service).boxed(),
        follow(&informers, &tell, Heard::Controller).boxed(),
        follow(&informers, &tell, Heard::Set).boxed(),
        follow(&informers, &tell, Heard::Stateful).boxed(),
        follow(&informers, &tell, Heard::Budget).boxed(),
    ]);
    informers.start();
    tokio::select! {
        () = stop.cancelled() => return,
        _ = listed => {}
    }
    let mut state = cycle::Scheduler::new(api, options, tell);
    loop {
        let due = state.next_due();
        let timer = async {
            match due {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            Some(event) = hear.recv() => {
                state.hear(event);
                while let Ok(event) = hear.try_recv() {
                    state.hear(event);
                }
            }
            () = timer => state.wake(),
        }
        state.schedule_some();
        while state.has_active() {
            // between two rounds others may speak
            tokio::task::yield_now().await;
            while let Ok(event) = hear.try_recv() {
                state.hear(event);
            }
            state.schedule_some();
        }
    }
}
