//! The store's trait, and the one implementation that keeps its state in this process: readers in [`Shared`], one [`Writer`], and
//! a [`Log`] below it that decides whether anything outlives the process.
//!
//! Invariant: opening yields exactly what the log holds, history included. Follows
//! `staging/src/k8s.io/apiserver/pkg/storage/interfaces.go`.

use std::{
    sync::{Arc, atomic::Ordering},
    thread::JoinHandle,
    time::Duration,
};

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::{
    Cipher, Error, History, Indexer, Interest, Key, Object, Snapshot, Watch, Write, loading,
    log::Log, state::Shared, writer::Queue,
};

/// The cluster's state, with one revision counter for all resources. Reads never wait; `resource` is `plural.group`.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The newest revision that readers see. At least 1.
    fn revision(&self) -> u64;

    /// One resource at the newest revision.
    fn snapshot(&self, resource: &str) -> Snapshot;

    /// One resource as it was at `revision`. [`Error::Compacted`] or [`Error::Future`] when that can not be told.
    fn snapshot_at(&self, resource: &str, revision: u64) -> Result<Snapshot, Error>;

    /// The newest version of one object.
    fn get(&self, key: &Key) -> Option<Arc<Object>>;

    /// Waits until readers see at least `revision`. [`Error::Future`] after `timeout`.
    async fn wait_for(&self, revision: u64, timeout: Duration) -> Result<(), Error>;

    /// The object lies on disk in another way than it would be written now: by an old key, or plain. One that was written unchanged is not.
    fn is_stale(&self, object: &Object) -> bool;

    /// Does one write and answers the new version, for a removal the last state as watchers see it. When this is cancelled the
    /// write may or may not happen.
    ///
    /// [`Error::Exists`], [`Error::NotFound`], [`Error::Conflict`]: the expectation does not hold. Any other error: the write was
    /// not done as far as this process tells, but may be there after a crash.
    async fn commit(&self, write: Write) -> Result<Arc<Object>, Error>;

    /// The events of one resource strictly after the revision `from`, which may lie in the future. [`Error::Compacted`] when not
    /// all of them are kept.
    fn watch(&self, resource: &str, from: u64) -> Result<Watch, Error> {
        self.watch_some(resource, from, Interest::default())
    }

    /// Those of these events that are of interest: what others do neither wakes such a watcher nor lets it fall behind.
    fn watch_some(&self, resource: &str, from: u64, interest: Interest) -> Result<Watch, Error>;

    /// Whether a write would be tried. False after the database failed until it works again, and for good once the store is closed.
    fn takes_writes(&self) -> bool;

    /// Grows with every change of the resource, and not before the change can be read.
    fn resource_revision(&self, resource: &str) -> u64;

    /// The resources that have objects, in alphabetical order.
    fn resources(&self) -> Vec<Arc<str>>;

    /// Does the writes in line, ends the watches ([`Error::Closed`] after their last event), closes the database. Reads go on.
    async fn close(&self);
}

/// How a store is opened.
#[derive(Clone)]
pub struct Options {
    /// Makes the attributes of objects that were read from disk.
    pub indexer: Option<Indexer>,
    /// Turns objects into what lies on disk; `None`: they lie there as they are.
    pub cipher: Option<Arc<dyn Cipher>>,
    pub history: History,
    /// Bytes that the database may use as a cache. Reads never go to it, so it can be small.
    pub cache_bytes: usize,
    /// Time between two attempts to use a database again that failed.
    pub retry: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            indexer: None,
            cipher: None,
            history: History::default(),
            cache_bytes: 4 << 20,
            retry: Duration::from_secs(1),
        }
    }
}

/// A store whose state is held by this process. Made by [`redb::open`](crate::redb::open) and
/// [`memory::open`](crate::memory::open). Dropping it closes it.
pub struct LocalStore {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    writer: Mutex<Option<JoinHandle<()>>>,
    cipher: Option<Arc<dyn Cipher>>,
}

impl LocalStore {
    /// Loads what `log` holds and starts the writer.
    pub(crate) fn start(log: Box<dyn Log>, options: Options) -> Result<Self, Error> {
        let cipher = options.cipher.clone();
        let writer = loading::load(log, options)?;
        let (shared, queue) = (writer.shared.clone(), writer.queue.clone());
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run());
        let thread = thread.map_err(|source| Error::Io {
            what: "start the store's writer",
            source,
        })?;
        Ok(Self {
            shared,
            queue,
            writer: Mutex::new(Some(thread)),
            cipher,
        })
    }
}

#[cfg(test)]
impl LocalStore {
    /// What the writer does to the events when it has time. To be called when it has none.
    pub(crate) fn pack(&self, size: usize, loose: usize) {
        for ring in self.shared.rings() {
            let root = self.shared.root();
            let is_present = |object: &Arc<crate::Object>| root.has(object);
            while ring.pack(size, loose, &is_present) || ring.pack_again(&is_present) {}
        }
    }
}

#[async_trait]
impl Store for LocalStore {
    fn revision(&self) -> u64 {
        self.shared.revision()
    }

    fn snapshot(&self, resource: &str) -> Snapshot {
        self.shared.snapshot(resource)
    }

    fn snapshot_at(&self, resource: &str, revision: u64) -> Result<Snapshot, Error> {
        self.shared.snapshot_at(resource, revision)
    }

    fn get(&self, key: &Key) -> Option<Arc<Object>> {
        self.shared.get(key)
    }

    fn is_stale(&self, object: &Object) -> bool {
        let cipher = self.cipher.as_ref();
        cipher.is_some_and(|cipher| cipher.is_stale(&object.key, object.revision))
    }

    async fn wait_for(&self, revision: u64, timeout: Duration) -> Result<(), Error> {
        self.shared.wait_for(revision, timeout).await
    }

    async fn commit(&self, write: Write) -> Result<Arc<Object>, Error> {
        self.queue.push(write).await.unwrap_or(Err(Error::Closed))
    }

    fn watch_some(&self, resource: &str, from: u64, interest: Interest) -> Result<Watch, Error> {
        self.shared.watch(resource, from, interest)
    }

    fn takes_writes(&self) -> bool {
        self.queue.is_open() && !self.shared.failing.load(Ordering::Relaxed)
    }

    fn resource_revision(&self, resource: &str) -> u64 {
        self.shared.resource_revision(resource)
    }

    fn resources(&self) -> Vec<Arc<str>> {
        self.shared.resources()
    }

    async fn close(&self) {
        self.queue.close();
        let writer = self.writer.lock().take();
        if let Some(writer) = writer {
            let ended = tokio::task::spawn_blocking(move || has_ended(writer.join())).await;
            has_ended(ended);
        }
    }
}

impl Drop for LocalStore {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.lock().take() {
            has_ended(writer.join());
        }
    }
}

/// A writer that panicked has said so, and has closed the store on its way out.
fn has_ended<E>(_: Result<(), E>) {}

#[cfg(test)]
mod tests;
