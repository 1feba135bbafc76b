//! What the owner of cache and queue hears of: changes of the cluster, and what came of its own requests.
//!
//! Invariant: all of it goes through one channel, in its order. Follows `pkg/scheduler/eventhandlers.go` (addAllEventHandlers).

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{ReplicaSet, StatefulSet},
    core::v1::{
        Namespace, Node, PersistentVolume, PersistentVolumeClaim, ReplicationController, Service,
    },
    policy::v1::PodDisruptionBudget,
    storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
};
use skiff_podspec::pod::Pod;
use skiff_watching::informer::{Cached, Change, Informers};
use tokio::sync::mpsc::UnboundedSender;

use crate::broken::Broken;

/// What happened to an object.
pub enum Event<K> {
    /// It is new or changed.
    Apply(Arc<K>),
    /// It is gone; this is the last that was seen of it.
    Delete(Arc<K>),
}

/// What the owner of the state hears of.
pub enum Heard {
    Pod(Event<Pod>),
    Node(Event<Node>),
    Claim(Event<PersistentVolumeClaim>),
    Volume(Event<PersistentVolume>),
    Class(Event<StorageClass>),
    DriversOfNode(Event<CSINode>),
    Attachment(Event<VolumeAttachment>),
    Driver(Event<CSIDriver>),
    Capacity(Event<CSIStorageCapacity>),
    Namespace(Event<Namespace>),
    Service(Event<Service>),
    Controller(Event<ReplicationController>),
    Set(Event<ReplicaSet>),
    Stateful(Event<StatefulSet>),
    Budget(Event<PodDisruptionBudget>),
    /// A binding came back.
    Bound {
        uid: Arc<str>,
        done: Result<(), Broken>,
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

/// Tells the owner; it is gone only when the scheduler has ended, and then nothing is to be told any more.
pub fn told(tell: &UnboundedSender<Heard>, heard: Heard) {
    if tell.send(heard).is_err() {
        tracing::debug!("the scheduler has ended");
    }
}

/// Tells of every change of a kind, and completes when all that there was has been told.
pub fn follow<K: Cached>(
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
        told(&tell, heard(event));
    });
    let mut synced = informer.synced();
    async move {
        if synced.wait_for(|synced| *synced).await.is_err() {
            tracing::debug!("a cache ended before it was filled");
        }
    }
}
