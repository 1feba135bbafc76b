//! Claims, volumes and storage classes as the scheduler knows them, and the volumes that it has promised.
//!
//! Invariant: a volume promised to a pod is offered to no other until the pod's binding came back. Follows
//! `pkg/scheduler/framework/plugins/volumebinding/assume_cache.go`.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
};

use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim},
        storage::v1::{CSIDriver, CSINode, CSIStorageCapacity, StorageClass, VolumeAttachment},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_watching::typed::Kind;

use crate::heard::Event;

/// Namespace (empty for what has none) and name.
pub type Name = (String, String);

/// The namespace and name of an object.
pub fn name_of(meta: &ObjectMeta) -> Name {
    (
        meta.namespace.clone().unwrap_or_default(),
        meta.name.clone().unwrap_or_default(),
    )
}

/// What happened to an object: without `old` it is new, without `new` it is gone.
pub struct Change<K> {
    pub old: Option<Arc<K>>,
    pub new: Option<Arc<K>>,
}

impl<K> Change<K> {
    /// The object where it is new.
    pub fn added(&self) -> Option<&Arc<K>> {
        self.new.as_ref().filter(|_| self.old.is_none())
    }

    /// Of the names of what may happen: that it is new, changed, or gone.
    pub fn label(&self, names: [&'static str; 3]) -> &'static str {
        let [added, updated, deleted] = names;
        match (&self.old, &self.new) {
            (_, None) => deleted,
            (None, Some(_)) => added,
            (Some(_), Some(_)) => updated,
        }
    }
}

/// All objects of a kind, from a watch.
pub struct Store<K> {
    objects: BTreeMap<Name, Arc<K>>,
}

impl<K> Default for Store<K> {
    fn default() -> Store<K> {
        Store {
            objects: BTreeMap::new(),
        }
    }
}

impl<K: Kind> Store<K> {
    /// Takes up what the cache says; tells what happened to the object.
    pub fn hear(&mut self, event: Event<K>) -> Change<K> {
        match event {
            Event::Apply(object) => Change {
                old: self.objects.insert(name_of(object.meta()), object.clone()),
                new: Some(object),
            },
            Event::Delete(object) => Change {
                old: self.objects.remove(&name_of(object.meta())),
                new: None,
            },
        }
    }

    /// One object.
    pub fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(&(namespace.to_string(), name.to_string()))
    }

    /// All objects of a namespace.
    pub fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &Arc<K>> {
        let namespace = namespace.to_string();
        self.objects
            .range((namespace.clone(), String::new())..)
            .take_while(move |((of, _), _)| *of == namespace)
            .map(|(_, object)| object)
    }

    /// All objects by name.
    pub fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values()
    }
}

/// Attachments, found by their nodes.
#[derive(Default)]
pub struct Attachments {
    all: Store<VolumeAttachment>,
    by_node: BTreeSet<(String, String)>,
}

impl Attachments {
    /// As [`Store::hear`].
    pub fn hear(&mut self, event: Event<VolumeAttachment>) -> Change<VolumeAttachment> {
        let change = self.all.hear(event);
        let place = |of: &Arc<VolumeAttachment>| {
            let (_, name) = name_of(&of.metadata);
            (of.spec.node_name.clone(), name)
        };
        if let Some(old) = &change.old {
            self.by_node.remove(&place(old));
        }
        self.by_node.extend(change.new.as_ref().map(place));
        change
    }

    /// Those of a node.
    pub fn of_node(&self, node: &str) -> impl Iterator<Item = &Arc<VolumeAttachment>> {
        let from = (node.to_owned(), String::new());
        let of_node = self.by_node.range(from..);
        of_node
            .take_while(move |(of, _)| of == node)
            .filter_map(|(_, name)| self.all.get("", name))
    }
}

/// What is known of storage.
#[derive(Default)]
pub struct Volumes {
    pub claims: Store<PersistentVolumeClaim>,
    pub volumes: Store<PersistentVolume>,
    pub classes: Store<StorageClass>,
    /// The drivers of nodes.
    pub nodes: Store<CSINode>,
    pub attachments: Attachments,
    pub drivers: Store<CSIDriver>,
    /// How much room drivers have, and where.
    pub capacities: Store<CSIStorageCapacity>,
    /// The pod that a volume is promised to.
    promised: HashMap<String, Arc<str>>,
}

impl Volumes {
    /// Whether a volume is promised to anyone.
    pub fn is_promised(&self, volume: &str) -> bool {
        self.promised.contains_key(volume)
    }

    /// Promises a volume to a pod.
    pub fn promise(&mut self, volume: &str, pod: &Arc<str>) {
        self.promised.insert(volume.to_string(), pod.clone());
    }

    /// Takes back all that was promised to a pod.
    pub fn release(&mut self, pod: &str) {
        self.promised.retain(|_, holder| &**holder != pod);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::plugins::tests::object;

    #[test]
    fn attachments_are_found_by_their_nodes() {
        let of = |name: &str, node: &str| {
            object::<VolumeAttachment>(
                name,
                "",
                json!({"spec": {"attacher": "a", "nodeName": node, "source": {}}}),
            )
        };
        let mut attachments = Attachments::default();
        let names = |attachments: &Attachments, node: &str| {
            let found = attachments.of_node(node);
            found
                .map(|of| name_of(&of.metadata).1)
                .collect::<Vec<_>>()
                .join(" ")
        };
        for (name, node) in [("x", "a"), ("y", "b"), ("z", "a"), ("w", "ab")] {
            attachments.hear(Event::Apply(of(name, node)));
        }
        assert_eq!(names(&attachments, "a"), "x z");
        attachments.hear(Event::Apply(of("x", "b")));
        attachments.hear(Event::Delete(of("z", "a")));
        assert_eq!(
            ["a", "ab", "b"].map(|node| names(&attachments, node)),
            ["", "w", "x y"]
        );
    }
}
