//! What everything stands on that reads or writes objects: the kinds that are served, the store, the clock, and who may do what.
//!
//! Invariant: nothing here knows of requests or HTTP.

use std::sync::Arc;

use arc_swap::ArcSwap;
use jiff::Timestamp;
use skiff_api::{kinds::Registry, machinery::clock::SharedClock};
use skiff_storage::{Error, EventKind, Key, Object, Store, Watch};

use crate::auth::{Change, Follow, Objects, authorize::Authorizers};

pub struct Core {
    /// What is served now; replaced whole. Whoever began with one keeps it to the end.
    pub kinds: ArcSwap<Registry>,
    pub store: Arc<dyn Store>,
    pub clock: SharedClock,
    pub authorizers: Authorizers,
}

impl Core {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// The store, as authentication and authorization read it.
pub struct StoredObjects(pub Arc<dyn Store>);

impl Objects for StoredObjects {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.0.get(&Key {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }
    fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.0.snapshot(resource).range(namespace, None).collect()
    }
    fn version(&self, resource: &str) -> u64 {
        self.0.resource_revision(resource)
    }
    fn follow(&self, resource: &str) -> Box<dyn Follow> {
        Box::new(Following {
            store: self.0.clone(),
            resource: resource.into(),
            watch: None,
        })
    }
}

/// Reads the events of a resource when it is asked, and all of it when some of them are gone already.
struct Following {
    store: Arc<dyn Store>,
    resource: Box<str>,
    watch: Option<Watch>,
}

impl Following {
    /// The events of a watch that are there; `None`: it has fallen behind.
    fn events(watch: &mut Watch) -> Option<Vec<Change>> {
        let mut changes = Vec::new();
        loop {
            let events = match watch.try_next() {
                Ok(events) => events,
                Err(Error::Closed) => return Some(changes),
                Err(_) => return None,
            };
            if events.is_empty() {
                return Some(changes);
            }
            changes.extend(events.iter().map(|event| match event.kind {
                EventKind::Deleted => Change::Removed(event.object.clone()),
                EventKind::Added | EventKind::Modified => Change::Put(event.object.clone()),
            }));
        }
    }
}

impl Follow for Following {
    fn since(&mut self) -> Vec<Change> {
        if let Some(changes) = self.watch.as_mut().and_then(Following::events) {
            return changes;
        }
        let snapshot = self.store.snapshot(&self.resource);
        // without a watch, all is read again the next time
        self.watch = self.store.watch(&self.resource, snapshot.revision()).ok();
        vec![Change::All(snapshot.range(None, None).collect())]
    }
}
