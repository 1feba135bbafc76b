//! The scheduler: gives every pod that waits a node. A queue, a cycle, plugins at upstream's extension points, all over a `kube::Client`.
//!
//! Invariant: one task owns cache and queue; a pod that was given a node counts there at once, before the API has it (assumed), and is taken
//! back when the binding fails. Follows `pkg/scheduler/{scheduler,schedule_one}.go`.

mod cache;
mod cycle;
mod events;
mod framework;
mod plugins;
mod pod;
mod queue;
mod volumes;

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::{
    core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod},
    storage::v1::StorageClass,
};
use kube::{
    Api, Client,
    runtime::{WatchStreamExt, watcher},
};
use skiff_api::machinery::clock::SharedClock;
use tokio::sync::mpsc;
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
        Options { scheduler_name: "default-scheduler".into(), parallelism: 64, clock: skiff_api::machinery::clock::system() }
    }
}

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("the watches ended")]
    WatchesEnded,
}

/// What the owner of the state hears of.
pub(crate) enum Heard {
    Pod(watcher::Event<Pod>),
    Node(watcher::Event<Node>),
    Claim(watcher::Event<PersistentVolumeClaim>),
    Volume(watcher::Event<PersistentVolume>),
    Class(watcher::Event<StorageClass>),
    Namespace(watcher::Event<Namespace>),
    /// A binding came back.
    Bound {
        uid: Arc<str>,
        done: Result<(), String>,
    },
}

type Watch = futures::stream::BoxStream<'static, Result<Heard, watcher::Error>>;

fn watch<K>(client: &Client, heard: fn(watcher::Event<K>) -> Heard) -> Watch
where
    K: kube::Resource<DynamicType = ()> + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
{
    watcher(Api::<K>::all(client.clone()), watcher::Config::default()).default_backoff().map(move |event| event.map(heard)).boxed()
}

/// Runs until `stop`.
pub async fn run(client: Client, options: Options, stop: CancellationToken) -> Result<(), Error> {
    let (tell, mut hear) = mpsc::unbounded_channel();
    let mut all = futures::stream::select_all([
        watch(&client, Heard::Pod),
        watch(&client, Heard::Node),
        watch(&client, Heard::Claim),
        watch(&client, Heard::Volume),
        watch(&client, Heard::Class),
        watch(&client, Heard::Namespace),
    ]);
    let mut state = cycle::Scheduler::new(client, options, tell);
    let mut tick = tokio::time::interval(Duration::from_millis(500));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            event = all.next() => match event {
                Some(Ok(event)) => state.hear(event),
                Some(Err(error)) => tracing::debug!(%error, "a watch is begun again"),
                None => return Err(Error::WatchesEnded),
            },
            Some(event) = hear.recv() => state.hear(event),
            _ = tick.tick(), if state.has_waiting() => state.wake(),
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
