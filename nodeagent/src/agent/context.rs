//! What all tasks of one node agent share.
//!
//! Invariant: nothing in here is changed but by the task that owns it; others read.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Arc, atomic::AtomicU16},
    time::Duration,
};

use parking_lot::RwLock;
use skiff_podspec::resources::List;
use skiff_watching::{api::Api, client::Client, unreadable::Unreadable};
use tokio_util::sync::CancellationToken;

use super::{observer::Observer, puller::Puller};
use crate::{
    agent::{machine::Machine, nodes::Nodes},
    config::Config,
    events::Recorder,
    figures::Figures,
    image::ImageStore,
    network::PodNetworks,
    objects::Objects,
    pod::{allocation::Allocations, handle::Handle},
    runtime::SharedRuntime,
};

/// What a node agent works with.
pub struct Parts {
    pub client: Client,
    pub runtime: SharedRuntime,
    pub images: Arc<dyn ImageStore>,
    /// `None` when the runtime gives addresses itself.
    pub network: Option<Arc<dyn PodNetworks>>,
    /// Where the agent finds its Node object; `None`: it follows that itself.
    pub nodes: Option<Arc<Nodes>>,
}

/// One node.
pub struct Context {
    pub config: Config,
    pub api: Api,
    /// Tells of objects that cannot be read.
    pub unreadable: Unreadable,
    pub runtime: SharedRuntime,
    pub images: Arc<dyn ImageStore>,
    pub network: Option<Arc<dyn PodNetworks>>,
    pub events: Recorder,
    pub objects: Objects,
    pub observer: Observer,
    pub puller: Puller,
    pub machine: Machine,
    /// Where this node's object is, as the API has it.
    pub nodes: Arc<Nodes>,
    pub allocations: Allocations,
    /// The pods of this node, by uid; written by the dispatcher only.
    pub pods: RwLock<HashMap<String, Arc<Handle>>>,
    /// Where the node's API listens; 0 when it does not.
    pub api_port: AtomicU16,
    pub host_ips: Vec<IpAddr>,
    /// What it counts.
    pub figures: Arc<Figures>,
    pub stop: CancellationToken,
}

impl Context {
    /// What pods may use of the node, as the API has it.
    pub fn allocatable(&self) -> List {
        let known = self.nodes.get(&self.config.node_name);
        known
            .and_then(|node| node.status.as_ref()?.allocatable.clone())
            .unwrap_or_else(|| self.machine.capacity.clone())
    }

    /// How long a pod to which nothing happens is left alone: simulated ones have no volumes to bring up to date.
    pub fn resync(&self) -> Duration {
        self.config.intervals.resync * if self.config.simulated { 20 } else { 1 }
    }

    /// The pod of that name, the newest when an older one is still ending.
    pub fn pod_named(&self, namespace: &str, name: &str) -> Option<Arc<Handle>> {
        let pods = self.pods.read();
        let named = pods.values().filter(|handle| {
            let pod = handle.pod();
            pod.metadata.name.as_deref() == Some(name)
                && pod.metadata.namespace.as_deref() == Some(namespace)
        });
        named
            .max_by_key(|handle| handle.pod().metadata.creation_timestamp.clone())
            .cloned()
    }
}
