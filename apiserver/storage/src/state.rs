//! What readers see: the root of all resources at the newest revision, the rings of recent events, and what a batch of writes
//! makes of them.
//!
//! Invariant: the root is swapped as a whole, so all resources are seen at one revision; only the writer swaps it.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/interfaces.go`.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwap;
use immutable_chunkmap::map::Map;
use parking_lot::RwLock;
use tokio::sync::watch;

use crate::{
    Error, Event, EventKind, Interest, Key, Object, Snapshot, Watch, log::FIRST, objects::Objects,
    ring::Ring,
};

/// All objects at one revision.
#[derive(Clone)]
pub(crate) struct Root {
    pub revision: u64,
    resources: Map<Arc<str>, Objects, 32>,
}

impl Root {
    pub fn empty(revision: u64) -> Self {
        Self {
            revision,
            resources: Map::new(),
        }
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        self.resources
            .get::<str>(&key.resource)?
            .get(&key.namespace, &key.name)
    }

    /// Whether that very version is the present one.
    pub fn has(&self, object: &Arc<Object>) -> bool {
        self.get(&object.key)
            .is_some_and(|have| Arc::ptr_eq(have, object))
    }

    fn objects(&self, resource: &str) -> Objects {
        self.resources
            .get::<str>(resource)
            .cloned()
            .unwrap_or_default()
    }
}

/// The writer's working copy: the resources that a batch touches, changed write by write, and the events that come of it.
pub(crate) struct Draft {
    base: Arc<Root>,
    /// Of the last write.
    pub revision: u64,
    touched: HashMap<Arc<str>, Objects>,
    pub events: Vec<Arc<Event>>,
}

impl Default for Draft {
    fn default() -> Self {
        Self::new(Arc::new(Root::empty(FIRST)))
    }
}

impl Draft {
    pub fn new(base: Arc<Root>) -> Self {
        Self {
            revision: base.revision,
            base,
            touched: HashMap::new(),
            events: Vec::new(),
        }
    }

    /// Sets all objects of a resource.
    pub fn fill(&mut self, resource: Arc<str>, objects: Objects) {
        self.touched.insert(resource, objects);
    }

    pub fn get(&self, key: &Key) -> Option<&Arc<Object>> {
        match self.touched.get(&key.resource) {
            Some(objects) => objects.get(&key.namespace, &key.name),
            None => self.base.get(key),
        }
    }

    /// Puts a new version in. Its revision is the next.
    pub fn put(&mut self, object: Arc<Object>) {
        let previous = self.get(&object.key).cloned();
        let kind = if previous.is_some() {
            EventKind::Modified
        } else {
            EventKind::Added
        };
        self.objects(&object.key.resource).insert(object.clone());
        self.push(Event::new(kind, object, previous));
    }

    /// Takes `previous` out; `last` is what watchers see of it. Its revision is the next.
    pub fn remove(&mut self, previous: Arc<Object>, last: Arc<Object>) {
        self.objects(&last.key.resource).remove(&previous);
        self.push(Event::new(EventKind::Deleted, last, Some(previous)));
    }

    fn push(&mut self, event: Event) {
        self.revision = event.revision;
        self.events.push(Arc::new(event));
    }

    fn objects(&mut self, resource: &Arc<str>) -> &mut Objects {
        self.touched
            .entry(resource.clone())
            .or_insert_with(|| self.base.objects(resource))
    }

    /// The root with all of the batch in it.
    pub fn root(&self) -> Root {
        let mut root = Root::clone(&self.base);
        root.revision = self.revision;
        for (resource, objects) in &self.touched {
            root.resources.insert_cow(resource.clone(), objects.clone());
        }
        root
    }
}

/// One copy of each namespace and resource name, however many objects bear it.
#[derive(Default)]
pub(crate) struct Names(HashSet<Arc<str>>);

impl Names {
    pub fn one(&mut self, name: &str) -> Arc<str> {
        if let Some(have) = self.0.get(name) {
            return have.clone();
        }
        let new: Arc<str> = name.into();
        self.0.insert(new.clone());
        new
    }

    /// Forgets the names that nothing bears any more.
    pub fn tidy(&mut self) {
        self.0.retain(|name| Arc::strong_count(name) > 1);
    }
}

pub(crate) struct Shared {
    root: Arc<ArcSwap<Root>>,
    rings: RwLock<HashMap<Arc<str>, Arc<Ring>>>,
    /// Revision after which all events since the start are known, for resources whose ring is made later.
    base: u64,
    published: watch::Sender<u64>,
    closed: AtomicBool,
    /// The last thing that was tried with the database went wrong.
    pub failing: AtomicBool,
}

impl Default for Shared {
    fn default() -> Self {
        Self::new(FIRST)
    }
}

impl Shared {
    /// `base`: the revision after which all events are known.
    pub fn new(base: u64) -> Self {
        let (root, published) = (Root::empty(base), watch::Sender::new(base));
        Self {
            root: Arc::new(ArcSwap::from_pointee(root)),
            rings: RwLock::default(),
            base,
            published,
            closed: AtomicBool::new(false),
            failing: AtomicBool::new(false),
        }
    }

    pub fn root(&self) -> Arc<Root> {
        self.root.load_full()
    }

    /// Puts the root in that loading has made. Nobody reads yet.
    pub fn begin(&self, root: Root) {
        self.published.send_replace(root.revision);
        self.root.store(Arc::new(root));
    }

    pub fn closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub fn ring(&self, resource: &str) -> Arc<Ring> {
        if let Some(ring) = self.rings.read().get(resource) {
            return ring.clone();
        }
        let mut rings = self.rings.write();
        let name: Arc<str> = resource.into();
        let ring = rings
            .entry(name.clone())
            .or_insert_with(|| Arc::new(Ring::new(name, self.base)))
            .clone();
        if self.closed() {
            ring.close();
        }
        ring
    }

    pub fn rings(&self) -> Vec<Arc<Ring>> {
        self.rings.read().values().cloned().collect()
    }

    /// Makes a batch visible, to readers and to watchers at once; returns each event's ring. Does not wake the watchers.
    pub fn publish(&self, draft: &Draft) -> Vec<Arc<Ring>> {
        let rings: HashMap<&str, Arc<Ring>> = draft
            .touched
            .keys()
            .map(|resource| (&**resource, self.ring(resource)))
            .collect();
        let root = Arc::new(draft.root());
        {
            let mut locked: HashMap<&str, _> = rings
                .iter()
                .map(|(resource, ring)| (*resource, ring.lock()))
                .collect();
            self.root.store(root);
            for event in &draft.events {
                let resource = &*event.object.key.resource;
                if let Some(events) = locked.get_mut(resource) {
                    rings[resource].push(events, event);
                }
            }
        }
        self.published.send_replace(draft.revision);
        draft
            .events
            .iter()
            .map(|event| rings[&*event.object.key.resource].clone())
            .collect()
    }

    /// No more events will come: watchers are told after their last.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        for ring in self.rings.write().values() {
            ring.close();
        }
        self.published.send_modify(|_| ());
    }

    pub fn revision(&self) -> u64 {
        self.root.load().revision
    }

    pub fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.root.load().get(key).cloned()
    }

    pub fn resources(&self) -> Vec<Arc<str>> {
        let root = self.root.load();
        (&root.resources)
            .into_iter()
            .filter(|(_, objects)| objects.len() > 0)
            .map(|(resource, _)| resource.clone())
            .collect()
    }

    pub fn snapshot(&self, resource: &str) -> Snapshot {
        let root = self.root.load();
        Snapshot::new(root.revision, root.objects(resource))
    }

    /// The present objects with the events since `revision` undone.
    pub fn snapshot_at(&self, resource: &str, revision: u64) -> Result<Snapshot, Error> {
        let ring = self.ring(resource);
        let (mut objects, pieces) = ring.read(|events| {
            let root = self.root.load();
            if revision > root.revision {
                return Err(Error::Future {
                    asked: revision,
                    newest: root.revision,
                });
            }
            Ok((root.objects(resource), events.after(revision)?))
        })?;
        let events: Vec<Arc<Event>> = pieces
            .into_iter()
            .flat_map(|piece| piece.open(ring.resource()))
            .collect();
        let mut was: BTreeMap<(&str, &str), &Arc<Event>> = BTreeMap::new();
        for event in &events {
            was.entry((&event.object.key.namespace, &event.object.key.name))
                .or_insert(event);
        }
        for event in was.into_values() {
            match &event.previous {
                Some(previous) => objects.insert(previous.clone()),
                None => objects.remove(&event.object),
            }
        }
        Ok(Snapshot::new(revision, objects))
    }

    pub fn watch(&self, resource: &str, from: u64, interest: Interest) -> Result<Watch, Error> {
        self.ring(resource).watch(self.root.clone(), from, interest)
    }

    /// Revision of the resource's newest change, as far as its events are kept.
    pub fn resource_revision(&self, resource: &str) -> u64 {
        self.ring(resource).read(|events| events.newest())
    }

    pub async fn wait_for(&self, revision: u64, timeout: Duration) -> Result<(), Error> {
        if self.revision() >= revision {
            return Ok(());
        }
        let mut published = self.published.subscribe();
        let reached = published.wait_for(|newest| *newest >= revision || self.closed());
        let reached = tokio::time::timeout(timeout, reached).await.is_ok();
        let newest = self.revision();
        match (newest >= revision, reached) {
            (true, _) => Ok(()),
            (false, true) => Err(Error::Closed),
            (false, false) => Err(Error::Future {
                asked: revision,
                newest,
            }),
        }
    }
}
