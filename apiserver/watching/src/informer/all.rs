//! All caches of the process, each made when it is first asked for, and what fills them.
//!
//! Invariant: what cannot be read is set aside and told of; it stops neither its kind's cache nor any other.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
    sync::{Arc, Mutex},
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Cached, Change, Informer, lock};
use crate::{
    api::{Api, collection},
    clock::Clock,
    events::Events,
    key::Key,
    reflect::{Sink, Source, reflect},
    unreadable::Unreadable,
};

/// Reads what a reflector sees into an informer's cache.
pub(super) struct Filler<K: Cached> {
    informer: Informer<K>,
    parts: K::Parts,
    unreadable: Unreadable,
    /// Of the list that is being read.
    listed: Vec<K>,
}

impl<K: Cached> Filler<K> {
    pub(super) fn new(informer: Informer<K>, unreadable: Unreadable) -> Self {
        Self {
            informer,
            parts: K::Parts::default(),
            unreadable,
            listed: Vec::new(),
        }
    }

    /// The object as it is to be kept, without what nobody reads and one with others where they are equal; nothing when it had to be set
    /// aside.
    fn read(&mut self, object: &str) -> Option<K> {
        let mut object = K::decode_without(object, K::DROPPED)
            .map_err(|error| {
                self.unreadable
                    .set_aside(K::api_version(), K::kind(), object, &error)
            })
            .ok()?;
        object.trim();
        let before = |meta: &ObjectMeta| self.informer.get(&Key::of(meta));
        object.share(&mut self.parts, before);
        Some(object)
    }
}

impl<K: Cached> Sink for Filler<K> {
    fn begin(&mut self) {
        self.listed = Vec::new();
    }
    fn listed(&mut self, object: &str) {
        let object = self.read(object);
        self.listed.extend(object);
    }
    fn complete(&mut self, resource_version: &str) {
        self.informer
            .replace(std::mem::take(&mut self.listed), resource_version);
    }
    fn applied(&mut self, object: &str) -> Option<String> {
        let object = self.read(object)?;
        let version = object.meta().resource_version.clone();
        self.informer.apply(object);
        version
    }
    fn deleted(&mut self, object: &str) -> Option<String> {
        let object = self.read(object)?;
        let version = object.meta().resource_version.clone();
        self.informer.delete(object);
        version
    }
    fn reached(&mut self, resource_version: &str) {
        self.informer.note(Some(resource_version));
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
    pub(super) unreadable: Unreadable,
    registry: Arc<Mutex<Registry>>,
}

impl Informers {
    /// None yet. An object that cannot be read is told of by `events`.
    pub fn new(api: Api, clock: Clock, events: &Events, stop: CancellationToken) -> Self {
        let registry = Registry {
            informers: HashMap::new(),
            by_path: HashMap::new(),
            waiting: Vec::new(),
            started: false,
            deletions: Vec::new(),
        };
        Self {
            api,
            clock,
            stop,
            unreadable: Unreadable::new(events),
            registry: Arc::new(Mutex::new(registry)),
        }
    }

    /// The informer of a kind. It is filled once [`Informers::start`] was called.
    pub fn of<K: Cached>(&self) -> Informer<K> {
        let mut registry = lock(&self.registry);
        if let Some(informer) = registry
            .informers
            .get(&TypeId::of::<K>())
            .and_then(|any| any.downcast_ref::<Informer<K>>())
        {
            return informer.clone();
        }
        let informer = Informer::<K>::empty();
        registry
            .informers
            .insert(TypeId::of::<K>(), Box::new(informer.clone()));
        let metadata = informer.clone();
        let source: MetaSource = Arc::new(move |handler| {
            metadata.subscribe(move |change| {
                handler(change.object().meta(), matches!(change, Change::Deleted(_)))
            });
            metadata.synced()
        });
        registry.by_path.insert(collection::<K>(""), source);
        let (api, clock, stop) = (self.api.clone(), self.clock.clone(), self.stop.clone());
        let sink = Box::new(Filler::new(informer.clone(), self.unreadable.clone()));
        let start = move || {
            let source = Source {
                path: collection::<K>(""),
                query: String::new(),
                accept: None,
            };
            crate::task::spawn(reflect(api, clock, source, sink, stop));
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
    pub fn subscribe_metadata(
        &self,
        path: &str,
        handler: MetaHandler,
    ) -> Option<watch::Receiver<bool>> {
        let source = lock(&self.registry).by_path.get(path).cloned()?;
        Some(source(handler))
    }
}
