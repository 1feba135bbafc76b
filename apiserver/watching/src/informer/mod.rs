//! One cache a kind, shared by all who read it: typed objects behind `Arc`, looked up by name, namespace, owner or group, and the changes
//! told to whoever subscribed.
//!
//! Invariants: only the kind's own reflector task writes its cache; a subscriber hears of an object after the cache has it; a kind that
//! nobody asked for is never listed. Follows k8s.io/client-go/tools/cache/shared_informer.go and its indexers.

mod all;
mod cached;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;

pub use all::{DeletionHandler, Informers, MetaHandler};
pub use cached::Cached;

use crate::{clock::Clock, key::Key};

/// What happened to an object.
pub enum Change<K> {
    /// It is new to us.
    Added(Arc<K>),
    /// It is another than it was.
    Updated { old: Arc<K>, new: Arc<K> },
    /// It is gone; this is the last that was seen of it.
    Deleted(Arc<K>),
}

impl<K> Change<K> {
    /// The newest state known.
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(new) | Self::Updated { new, .. } => new,
            Self::Deleted(old) => old,
        }
    }
}

/// A namespace's objects, an owner's, those without an owner in a namespace, or a group's.
#[derive(PartialEq, Eq, Hash, Clone)]
enum Index {
    Namespace(Box<str>),
    Owner(Box<str>),
    Orphan(Box<str>),
    Group(Box<str>),
}

struct Cache<K> {
    objects: HashMap<Key, Arc<K>>,
    indices: HashMap<Index, HashMap<Key, Arc<K>>>,
}

impl<K: Cached> Cache<K> {
    fn indices_of(object: &K) -> [Option<Index>; 3] {
        let meta = object.meta();
        let namespace = meta.namespace.as_deref().filter(|ns| !ns.is_empty());
        let owner = match controller_uid(meta) {
            Some(uid) => Some(Index::Owner(uid.into())),
            None => namespace.map(|ns| Index::Orphan(ns.into())),
        };
        [
            namespace.map(|ns| Index::Namespace(ns.into())),
            owner,
            object.group_by().map(|group| Index::Group(group.into())),
        ]
    }

    fn insert(&mut self, key: Key, object: Arc<K>) -> Option<Arc<K>> {
        let old = self.remove(&key);
        for index in Self::indices_of(&object).into_iter().flatten() {
            self.indices
                .entry(index)
                .or_default()
                .insert(key.clone(), object.clone());
        }
        self.objects.insert(key, object);
        old
    }

    fn remove(&mut self, key: &Key) -> Option<Arc<K>> {
        let old = self.objects.remove(key)?;
        for index in Self::indices_of(&old).into_iter().flatten() {
            if let Some(members) = self.indices.get_mut(&index) {
                members.remove(key);
                if members.is_empty() {
                    self.indices.remove(&index);
                }
            }
        }
        Some(old)
    }
}

/// The uid of the controlling owner.
pub fn controller_uid(meta: &ObjectMeta) -> Option<&str> {
    meta.owner_references
        .iter()
        .flatten()
        .find(|r| r.controller == Some(true))
        .map(|r| r.uid.as_str())
}

type Handler<K> = Box<dyn Fn(&Change<K>) + Send + Sync>;

struct Shared<K> {
    cache: RwLock<Cache<K>>,
    handlers: Mutex<Vec<Handler<K>>>,
    reached: watch::Sender<u64>,
    synced: watch::Sender<bool>,
}

/// The cache of one kind; cheap to clone.
pub struct Informer<K> {
    shared: Arc<Shared<K>>,
}

impl<K> Clone for Informer<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Cached> Informer<K> {
    /// An empty cache that nobody fills: for tests, and for [`Informers`] to start from.
    pub fn empty() -> Self {
        let shared = Shared {
            cache: RwLock::new(Cache {
                objects: HashMap::new(),
                indices: HashMap::new(),
            }),
            handlers: Mutex::new(Vec::new()),
            reached: watch::Sender::new(0),
            synced: watch::Sender::new(false),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    fn cache(&self) -> RwLockReadGuard<'_, Cache<K>> {
        self.shared
            .cache
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self, index: &Index) -> Vec<Arc<K>> {
        self.cache()
            .indices
            .get(index)
            .map(|members| members.values().cloned().collect())
            .unwrap_or_default()
    }

    /// The object, if it is known.
    pub fn get(&self, key: &Key) -> Option<Arc<K>> {
        self.cache().objects.get(key).cloned()
    }

    /// All objects, in no order.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.cache().objects.values().cloned().collect()
    }

    /// How many objects there are.
    pub fn len(&self) -> usize {
        self.cache().objects.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All objects of a namespace, in no order.
    pub fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.index(&Index::Namespace(namespace.into()))
    }

    /// What the owner with this uid controls.
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.index(&Index::Owner(uid.into()))
    }

    /// Whether the owner with this uid controls one for which `is` holds.
    pub fn owns_any(&self, uid: &str, is: impl Fn(&Arc<K>) -> bool) -> bool {
        let cache = self.cache();
        let owned = cache.indices.get(&Index::Owner(uid.into()));
        owned.is_some_and(|owned| owned.values().any(is))
    }

    /// What nobody controls in a namespace.
    pub fn orphans(&self, namespace: &str) -> Vec<Arc<K>> {
        self.index(&Index::Orphan(namespace.into()))
    }

    /// The objects with this [`Cached::group_by`].
    pub fn in_group(&self, group: &str) -> Vec<Arc<K>> {
        self.index(&Index::Group(group.into()))
    }

    /// Calls `handler` for every change from now on, and before that with `Added` for all that is known already. It runs on the
    /// reflector's task: it must be quick, and must not subscribe.
    pub fn subscribe(&self, handler: impl Fn(&Change<K>) + Send + Sync + 'static) {
        let mut handlers = lock(&self.shared.handlers);
        for object in self.list() {
            handler(&Change::Added(object));
        }
        handlers.push(Box::new(handler));
    }

    /// Waits until the cache has seen `version`, which an own write returned, but not longer than a second: then it works with what it has.
    pub async fn reach(&self, version: u64, clock: &Clock) {
        let mut reached = self.shared.reached.subscribe();
        tokio::select! {
            _ = reached.wait_for(|seen| *seen >= version) => {}
            () = clock.sleep(std::time::Duration::from_secs(1)) => {}
        }
    }

    /// Tells when the first list has been read.
    pub fn synced(&self) -> watch::Receiver<bool> {
        self.shared.synced.subscribe()
    }

    fn tell(&self, change: &Change<K>, handlers: &[Handler<K>]) {
        for handler in handlers {
            handler(change);
        }
    }

    fn put(&self, object: K, handlers: &[Handler<K>]) {
        let (key, new) = (Key::of(object.meta()), Arc::new(object));
        let old = self
            .shared
            .cache
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(key, new.clone());
        let change = match old {
            None => Change::Added(new),
            Some(old) if old.meta().uid != new.meta().uid => {
                self.tell(&Change::Deleted(old), handlers);
                Change::Added(new)
            }
            Some(old) if old.meta().resource_version == new.meta().resource_version => return,
            Some(old) => Change::Updated { old, new },
        };
        self.tell(&change, handlers);
    }

    fn take(&self, key: &Key, last: Option<K>, handlers: &[Handler<K>]) {
        let old = self
            .shared
            .cache
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key);
        if let Some(gone) = last.map(Arc::new).or(old) {
            self.tell(&Change::Deleted(gone), handlers);
        }
    }

    fn note(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|v| v.parse().ok()) {
            self.shared
                .reached
                .send_if_modified(|seen| std::mem::replace(seen, version) != version);
        }
    }
}

impl<K: Cached> Informer<K> {
    fn replace(&self, objects: Vec<K>, resource_version: &str) {
        let handlers = lock(&self.shared.handlers);
        let mut gone: BTreeSet<Key> = self.cache().objects.keys().cloned().collect();
        for object in objects {
            gone.remove(&Key::of(object.meta()));
            self.put(object, &handlers);
        }
        for key in &gone {
            self.take(key, None, &handlers);
        }
        self.note(Some(resource_version));
        self.shared.synced.send_replace(true);
    }

    fn apply(&self, object: K) {
        let version = object.meta().resource_version.clone();
        let handlers = lock(&self.shared.handlers);
        self.put(object, &handlers);
        self.note(version.as_deref());
    }

    fn delete(&self, object: K) {
        let version = object.meta().resource_version.clone();
        let handlers = lock(&self.shared.handlers);
        let key = Key::of(object.meta());
        self.take(&key, Some(object), &handlers);
        self.note(version.as_deref());
    }
}
