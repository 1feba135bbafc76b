//! What happened in the cluster, brought into cache and queue.
//!
//! Follows `pkg/scheduler/eventhandlers.go`.

use std::{sync::Arc, time::Instant};

use k8s_openapi::api::core::v1::Node;
use skiff_podspec::parts::{HasSpec, HasStatus};
use skiff_podspec::pod::Pod;

use crate::{
    cycle::Scheduler,
    framework::ClusterEvent,
    heard::{Event, Heard},
    pod::PodInfo,
    volumes::{Change, Volumes},
};

/// Whether a change of a node may let pods fit that did not.
fn differs(a: &Node, b: &Node) -> bool {
    let allocatable = |node: &Node| node.status().allocatable.clone();
    a.spec != b.spec || a.metadata.labels != b.metadata.labels || allocatable(a) != allocatable(b)
}

impl Scheduler {
    pub fn hear(&mut self, heard: Heard) {
        match heard {
            Heard::Pod(Event::Apply(pod)) => self.put_pod(pod),
            Heard::Pod(Event::Delete(pod)) => self.gone(pod.metadata.uid.as_deref().unwrap_or("")),
            Heard::Node(event) => self.hear_node(event),
            Heard::Claim(event) => {
                self.storage_changed(ClusterEvent::Claim, |known| known.claims.hear(event))
            }
            Heard::Volume(event) => {
                self.storage_changed(ClusterEvent::Volume, |known| known.volumes.hear(event))
            }
            Heard::Class(event) => {
                self.storage_changed(ClusterEvent::Class, |known| known.classes.hear(event))
            }
            Heard::DriversOfNode(event) => {
                self.storage_changed(ClusterEvent::DriversOfNode, |known| known.nodes.hear(event))
            }
            Heard::Attachment(event) => self.storage_changed(ClusterEvent::Attachment, |known| {
                known.attachments.hear(event)
            }),
            Heard::Driver(event) => {
                self.storage_changed(ClusterEvent::Driver, |known| known.drivers.hear(event))
            }
            Heard::Capacity(event) => {
                self.storage_changed(ClusterEvent::Capacity, |known| known.capacities.hear(event))
            }
            Heard::Namespace(event) => {
                self.namespaces.hear(event);
                self.queue.changed(&ClusterEvent::Namespace);
            }
            Heard::Service(event) => drop(self.owners.services.hear(event)),
            Heard::Controller(event) => drop(self.owners.controllers.hear(event)),
            Heard::Set(event) => drop(self.owners.sets.hear(event)),
            Heard::Stateful(event) => drop(self.owners.stateful.hear(event)),
            Heard::Budget(event) => drop(self.budgets.hear(event)),
            Heard::Bound { uid, done } => self.bound(&uid, done),
            Heard::Gone { uid } => self.gone(&uid),
            Heard::RoomMade { uid, failed } => self.queue.release(&uid, failed),
        }
    }

    fn storage_changed<K>(
        &mut self,
        event: fn(Change<K>) -> ClusterEvent,
        hear: impl FnOnce(&mut Volumes) -> Change<K>,
    ) {
        let event = event(hear(&mut self.volumes));
        self.bind_those_with_volumes();
        self.let_early_go(Instant::now());
        self.queue.changed(&event);
    }

    fn put_pod(&mut self, pod: Arc<Pod>) {
        let info = Arc::new(PodInfo::new(pod));
        let phase = info.pod.status().phase.as_deref();
        if matches!(phase, Some("Succeeded" | "Failed")) {
            return self.gone(&info.uid);
        }
        let name = info
            .pod
            .spec()
            .scheduler_name
            .as_deref()
            .unwrap_or("default-scheduler");
        let own = name == self.options.scheduler_name;
        match info.node().map(String::from) {
            Some(node) => self.put_assigned(&node, info),
            None if self.assumed.contains_key(&info.uid) => {
                if let Some(assumed) = self.assumed.get_mut(&info.uid) {
                    assumed.pod = info;
                }
            }
            None if own && !info.is_gated() && !info.is_deleting() => {
                self.nominator.heard(&info);
                let is_new = !self.queue.knows(&info.uid);
                let now = Instant::now();
                if !self.early.hold(&info, is_new, &self.volumes, now) {
                    self.queue.put(info);
                }
            }
            None => {
                self.early.remove(&info.uid);
                self.nominator.remove(&info.uid);
                match own && !info.is_deleting() {
                    true => self.queue.gate(&info.uid),
                    false => self.queue.remove(&info.uid),
                }
            }
        }
    }

    fn put_assigned(&mut self, node: &str, pod: Arc<PodInfo>) {
        self.early.remove(&pod.uid);
        self.queue.remove(&pod.uid);
        self.nominator.remove(&pod.uid);
        let old = self
            .cache
            .put_pod(node, pod.clone())
            .filter(|old| old.node().is_some());
        if self.queue.has_waiting() {
            self.queue.changed(&match old {
                Some(old) => ClusterEvent::PodUpdated { old, new: pod },
                None => ClusterEvent::PodAdded(pod),
            });
        }
    }

    fn gone(&mut self, uid: &str) {
        self.forget(uid);
        self.early.remove(uid);
        self.queue.remove(uid);
        self.nominator.remove(uid);
        self.reports.remove(uid);
        if let Some(pod) = self.cache.remove_pod(uid) {
            self.queue.changed(&ClusterEvent::PodDeleted(pod));
        }
    }

    fn hear_node(&mut self, event: Event<Node>) {
        match event {
            Event::Apply(node) => match self.cache.put_node(node.clone()) {
                None => self.queue.changed(&ClusterEvent::NodeAdded(node)),
                Some(old) if differs(&old, &node) => self
                    .queue
                    .changed(&ClusterEvent::NodeUpdated { old, new: node }),
                Some(_) => {}
            },
            Event::Delete(node) => {
                self.cache
                    .remove_node(node.metadata.name.as_deref().unwrap_or(""));
                self.bind_those_with_volumes();
                self.queue.changed(&ClusterEvent::NodeDeleted(node));
            }
        }
    }
}
