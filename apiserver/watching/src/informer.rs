//! One cache a kind, shared by all controllers: typed objects behind `Arc`, looked up by name, namespace, owner or group, and the changes
//! told to whoever subscribed.
//!
//! Invariants: only the kind's own reflector task writes its cache; a subscriber hears of an object after the cache has it; a kind that
//! nobody asked for is never listed. Follows k8s.io/client-go/tools/cache/shared_informer.go and its indexers.

use std::{
    any::{Any, TypeId},
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard},
};

use k8s_openapi::{
    api::{
        apps::v1::*, autoscaling::v2::*, batch::v1::*, certificates::v1::*, coordination::v1::Lease, core::v1::*, discovery::v1::*, policy::v1::*, rbac::v1::*,
        storage::v1::*,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, Kind, collection},
    clock::Clock,
    key::Key,
    reflect::{Sink, Source, reflect},
};

/// A kind that is cached.
pub trait Cached: Kind {
    /// One more thing to look objects up by, such as the node of a pod.
    fn group_by(&self) -> Option<&str> {
        None
    }
    /// Drops what no controller reads, to save memory.
    fn trim(&mut self) {
        self.meta_mut().managed_fields = None;
    }
}

impl Cached for Pod {
    fn group_by(&self) -> Option<&str> {
        self.spec.as_ref()?.node_name.as_deref()
    }
    fn trim(&mut self) {
        self.metadata.managed_fields = None;
        let Some(spec) = &mut self.spec else { return };
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            (container.env, container.env_from, container.command, container.args) = (None, None, None, None);
            (container.volume_mounts, container.security_context, container.lifecycle) = (None, None, None);
            (container.liveness_probe, container.readiness_probe, container.startup_probe) = (None, None, None);
        }
    }
}

impl Cached for Secret {
    fn trim(&mut self) {
        self.metadata.managed_fields = None;
        (self.data, self.string_data) = (None, None);
    }
}

impl Cached for EndpointSlice {
    fn group_by(&self) -> Option<&str> {
        self.metadata.labels.as_ref()?.get("kubernetes.io/service-name").map(String::as_str)
    }
}

macro_rules! cached {
    ($($kind:ty),* $(,)?) => { $(impl Cached for $kind {})* };
}

cached!(
    Deployment,
    ReplicaSet,
    StatefulSet,
    DaemonSet,
    ControllerRevision,
    ReplicationController,
    Service,
    Endpoints,
    Node,
    Namespace,
    ServiceAccount,
    ConfigMap,
    Job,
    CronJob,
    PodDisruptionBudget,
    ResourceQuota,
    PersistentVolume,
    PersistentVolumeClaim,
    StorageClass,
    CertificateSigningRequest,
    ClusterRole,
    HorizontalPodAutoscaler,
    VolumeAttachment,
    Lease,
);

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
        [namespace.map(|ns| Index::Namespace(ns.into())), owner, object.group_by().map(|group| Index::Group(group.into()))]
    }

    fn insert(&mut self, key: Key, object: Arc<K>) -> Option<Arc<K>> {
        let old = self.remove(&key);
        for index in Self::indices_of(&object).into_iter().flatten() {
            self.indices.entry(index).or_default().insert(key.clone(), object.clone());
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
    meta.owner_references.iter().flatten().find(|r| r.controller == Some(true)).map(|r| r.uid.as_str())
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
        Self { shared: self.shared.clone() }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<K: Cached> Informer<K> {
    /// An empty cache that nobody fills: for tests, and for [`Informers`] to start from.
    pub fn empty() -> Self {
        let shared = Shared {
            cache: RwLock::new(Cache { objects: HashMap::new(), indices: HashMap::new() }),
            handlers: Mutex::new(Vec::new()),
            reached: watch::Sender::new(0),
            synced: watch::Sender::new(false),
        };
        Self { shared: Arc::new(shared) }
    }

    fn cache(&self) -> RwLockReadGuard<'_, Cache<K>> {
        self.shared.cache.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn index(&self, index: &Index) -> Vec<Arc<K>> {
        self.cache().indices.get(index).map(|members| members.values().cloned().collect()).unwrap_or_default()
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
        let old = self.shared.cache.write().unwrap_or_else(PoisonError::into_inner).insert(key, new.clone());
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
        let old = self.shared.cache.write().unwrap_or_else(PoisonError::into_inner).remove(key);
        if let Some(gone) = last.map(Arc::new).or(old) {
            self.tell(&Change::Deleted(gone), handlers);
        }
    }

    fn note(&self, version: Option<&str>) {
        if let Some(version) = version.and_then(|v| v.parse().ok()) {
            self.shared.reached.send_if_modified(|seen| std::mem::replace(seen, version) != version);
        }
    }
}

impl<K: Cached> Sink<K> for Informer<K> {
    fn replace(&mut self, objects: Vec<K>, resource_version: &str) {
        let handlers = lock(&self.shared.handlers);
        let mut gone: BTreeMap<Key, ()> = self.cache().objects.keys().map(|k| (k.clone(), ())).collect();
        for mut object in objects {
            object.trim();
            gone.remove(&Key::of(object.meta()));
            self.put(object, &handlers);
        }
        for key in gone.keys() {
            self.take(key, None, &handlers);
        }
        self.note(Some(resource_version));
        self.shared.synced.send_replace(true);
    }

    fn apply(&mut self, mut object: K) {
        let version = object.meta().resource_version.clone();
        object.trim();
        let handlers = lock(&self.shared.handlers);
        self.put(object, &handlers);
        self.note(version.as_deref());
    }

    fn delete(&mut self, mut object: K) {
        let version = object.meta().resource_version.clone();
        object.trim();
        let handlers = lock(&self.shared.handlers);
        let key = Key::of(object.meta());
        self.take(&key, Some(object), &handlers);
        self.note(version.as_deref());
    }

    fn reached(&mut self, resource_version: &str) {
        self.note(Some(resource_version));
    }

    fn version(object: &K) -> Option<&str> {
        object.meta().resource_version.as_deref()
    }
}

type Starter = Box<dyn FnOnce() + Send>;

struct Registry {
    informers: HashMap<TypeId, Box<dyn Any + Send + Sync>>,
    /// The collection path of every typed informer, with what hands its objects' metadata to a subscriber.
    by_path: HashMap<String, MetaSource>,
    waiting: Vec<Starter>,
    started: bool,
    deletions: Vec<DeletionHandler>,
}

/// A subscriber to deletions of whatever kind: it hears the namespace.
pub type DeletionHandler = Box<dyn Fn(&str) + Send + Sync>;

/// A subscriber to metadata: the change's new state and whether the object is gone.
pub type MetaHandler = Box<dyn Fn(&ObjectMeta, bool) + Send + Sync>;
type MetaSource = Arc<dyn Fn(MetaHandler) -> watch::Receiver<bool> + Send + Sync>;

/// All informers of the process, made when they are first asked for.
#[derive(Clone)]
pub struct Informers {
    api: Api,
    clock: Clock,
    stop: CancellationToken,
    registry: Arc<Mutex<Registry>>,
}

impl Informers {
    /// None yet.
    pub fn new(api: Api, clock: Clock, stop: CancellationToken) -> Self {
        let registry = Registry { informers: HashMap::new(), by_path: HashMap::new(), waiting: Vec::new(), started: false, deletions: Vec::new() };
        Self { api, clock, stop, registry: Arc::new(Mutex::new(registry)) }
    }

    /// The informer of a kind. It is filled once [`Informers::start`] was called.
    pub fn of<K: Cached>(&self) -> Informer<K> {
        let mut registry = lock(&self.registry);
        if let Some(informer) = registry.informers.get(&TypeId::of::<K>()).and_then(|any| any.downcast_ref::<Informer<K>>()) {
            return informer.clone();
        }
        let informer = Informer::<K>::empty();
        registry.informers.insert(TypeId::of::<K>(), Box::new(informer.clone()));
        let metadata = informer.clone();
        let source: MetaSource = Arc::new(move |handler| {
            metadata.subscribe(move |change| handler(change.object().meta(), matches!(change, Change::Deleted(_))));
            metadata.synced()
        });
        registry.by_path.insert(collection::<K>(""), source);
        let (api, clock, stop, sink) = (self.api.clone(), self.clock.clone(), self.stop.clone(), informer.clone());
        let start = move || {
            let source = Source { path: collection::<K>(""), accept: None };
            tokio::spawn(reflect(api, clock, source, sink, stop));
        };
        if registry.started {
            start();
        } else {
            registry.waiting.push(Box::new(start));
        }
        informer
    }

    /// Starts to fill all informers, and from now on new ones at once.
    pub fn start(&self) {
        let waiting = {
            let mut registry = lock(&self.registry);
            registry.started = true;
            std::mem::take(&mut registry.waiting)
        };
        for start in waiting {
            start();
        }
    }

    /// Calls `handler` for every deletion that someone who watches metadata tells of.
    pub fn on_deletion(&self, handler: DeletionHandler) {
        lock(&self.registry).deletions.push(handler);
    }

    /// Something in this namespace was deleted.
    pub fn tell_deletion(&self, namespace: &str) {
        for handler in &lock(&self.registry).deletions {
            handler(namespace);
        }
    }

    /// Subscribes to the metadata of a collection that is watched anyway, and tells when it has been listed; `None` when it is not watched.
    pub fn subscribe_metadata(&self, path: &str, handler: MetaHandler) -> Option<watch::Receiver<bool>> {
        let source = lock(&self.registry).by_path.get(path).cloned()?;
        Some(source(handler))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn pod(name: &str, version: &str, owner: Option<&str>, node: Option<&str>) -> Pod {
        let owner_references = owner.map(|uid| vec![OwnerReference { uid: uid.into(), controller: Some(true), ..Default::default() }]);
        let metadata = ObjectMeta {
            name: Some(name.into()),
            namespace: Some("ns".into()),
            uid: Some(format!("uid-{name}")),
            resource_version: Some(version.into()),
            owner_references,
            ..Default::default()
        };
        Pod { metadata, spec: Some(PodSpec { node_name: node.map(Into::into), ..Default::default() }), status: None }
    }

    fn names(mut pods: Vec<Arc<Pod>>) -> Vec<String> {
        pods.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        pods.iter().filter_map(|p| p.metadata.name.clone()).collect()
    }

    #[test]
    fn indices_follow_changes_of_owner_and_node() {
        let mut informer = Informer::<Pod>::empty();
        informer.replace(vec![pod("a", "1", None, None), pod("b", "2", Some("rs"), Some("n1"))], "2");
        assert_eq!(names(informer.orphans("ns")), ["a"]);
        assert_eq!(names(informer.owned_by("rs")), ["b"]);
        informer.apply(pod("a", "3", Some("rs"), Some("n1")));
        assert_eq!(names(informer.orphans("ns")), Vec::<String>::new());
        assert_eq!(names(informer.owned_by("rs")), ["a", "b"]);
        assert_eq!(names(informer.in_group("n1")), ["a", "b"]);
        informer.delete(pod("b", "4", Some("rs"), Some("n1")));
        assert_eq!(names(informer.in_namespace("ns")), ["a"]);
    }

    #[test]
    fn a_new_list_tells_only_differences_and_late_subscribers_hear_all() {
        let mut informer = Informer::<Pod>::empty();
        informer.replace(vec![pod("a", "1", None, None), pod("b", "2", None, None)], "2");
        let (added, updated, deleted) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let counts = (added.clone(), updated.clone(), deleted.clone());
        informer.subscribe(move |change| {
            let count = match change {
                Change::Added(_) => &counts.0,
                Change::Updated { .. } => &counts.1,
                Change::Deleted(_) => &counts.2,
            };
            count.fetch_add(1, Ordering::Relaxed);
        });
        informer.replace(vec![pod("b", "3", None, None), pod("c", "4", None, None)], "4");
        let seen = [&added, &updated, &deleted].map(|c| c.load(Ordering::Relaxed));
        assert_eq!(seen, [3, 1, 1]);
    }
}
