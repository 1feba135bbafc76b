//! The recent events of one resource, and the cursors that watchers have into them.
//!
//! Invariant: a watcher gets each event after its start once and in order, or [`Error::Compacted`]; its memory is bounded by
//! [`BATCH`] events however slow it is. While a ring's lock is held for writing the new root is published too, so under the lock
//! a ring holds all events of its resource up to the root's revision.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/cacher/watch_cache.go` (window, expiry) and `cache_watcher.go`.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::watch;

use crate::{Error, Event, state::Root};

/// Events that a watcher takes at a time.
const BATCH: usize = 256;
/// Newest events of a ring whose renderings are kept for watchers that lag a little.
const WARM: u64 = 256;

pub(crate) struct Ring {
    events: RwLock<Events>,
    changed: watch::Sender<()>,
    closed: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Events {
    /// Revision of the newest event that was dropped: who has not seen it can not go on.
    floor: u64,
    /// Running number of the first event in `recent`.
    first: u64,
    /// Running number of the first event that may still hold renderings.
    warm: u64,
    recent: VecDeque<Arc<Event>>,
}

impl Events {
    fn end(&self) -> u64 {
        self.first + self.recent.len() as u64
    }

    fn at(&self, number: u64) -> Option<&Arc<Event>> {
        self.recent.get(number.checked_sub(self.first)? as usize)
    }

    pub fn push(&mut self, event: Arc<Event>) {
        self.recent.push_back(event);
        self.cool(self.end().saturating_sub(WARM));
    }

    fn cool(&mut self, until: u64) {
        for number in self.warm.max(self.first)..until {
            if let Some(event) = self.at(number) {
                event.cool();
            }
        }
        self.warm = self.warm.max(until);
    }

    /// Revision of the newest event.
    pub fn newest(&self) -> u64 {
        self.recent.back().map_or(self.floor, |event| event.revision)
    }

    /// The events after `revision`, oldest first; or the oldest revision that can be asked for.
    pub fn after(&self, revision: u64) -> Result<impl Iterator<Item = &Arc<Event>>, Error> {
        if revision < self.floor {
            return Err(Error::Compacted { asked: revision, oldest: self.floor });
        }
        let start = self.recent.partition_point(|event| event.revision <= revision);
        Ok(self.recent.range(start..))
    }
}

impl Ring {
    /// `floor`: the revision up to which the resource's events are not known.
    pub fn new(floor: u64) -> Self {
        Self { events: RwLock::new(Events { floor, ..Events::default() }), changed: watch::Sender::new(()), closed: AtomicBool::new(false) }
    }

    pub fn lock(&self) -> RwLockWriteGuard<'_, Events> {
        self.events.write()
    }

    pub fn read<T>(&self, look: impl FnOnce(&Events) -> T) -> T {
        look(&self.events.read())
    }

    /// Wakes the watchers.
    pub fn wake(&self) {
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
    }

    /// Forgets the oldest event.
    pub fn drop_oldest(&self) {
        let mut events = self.events.write();
        if let Some(event) = events.recent.pop_front() {
            events.floor = event.revision;
            events.first += 1;
        }
        if events.recent.is_empty() {
            events.recent = VecDeque::new();
        }
    }

    /// Gives back the memory of all renderings.
    pub fn cool(&self) {
        let mut events = self.events.write();
        let end = events.end();
        events.cool(end);
    }

    /// A cursor that begins strictly after `from`.
    pub fn watch(self: &Arc<Self>, root: Arc<ArcSwap<Root>>, from: u64) -> Result<Watch, Error> {
        let changed = self.changed.subscribe();
        let next = self.read(|events| events.after(from).map(|after| events.end() - after.count() as u64))?;
        Ok(Watch { ring: self.clone(), root, changed, after: from, next, taken: VecDeque::new() })
    }
}

/// A cursor into the recent events of one resource. Dropping it ends the watch.
pub struct Watch {
    ring: Arc<Ring>,
    root: Arc<ArcSwap<Root>>,
    changed: watch::Receiver<()>,
    /// Revision of the last event taken out of the ring, or where the watch began.
    after: u64,
    /// Running number of the next event to take.
    next: u64,
    /// Taken, but not yielded.
    taken: VecDeque<Arc<Event>>,
}

impl Watch {
    /// The next event, waited for. Can be cancelled without losing one.
    /// [`Error::Compacted`]: the watcher was too slow; [`Error::Closed`]: the store was closed and all events were seen.
    pub async fn next(&mut self) -> Result<Arc<Event>, Error> {
        self.ready().await?;
        self.taken.pop_front().ok_or(Error::Closed)
    }

    /// Waits until there is an event to take; errors as [`Watch::next`].
    pub async fn ready(&mut self) -> Result<(), Error> {
        loop {
            self.changed.borrow_and_update();
            if self.take()? {
                return Ok(());
            }
            self.changed.changed().await.map_err(|_| Error::Closed)?;
        }
    }

    /// The events that are there now, at most 256 of them; empty when there is none yet. Errors as [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        self.take()?;
        Ok(std::mem::take(&mut self.taken).into())
    }

    /// Waits for events and yields all that are there, at most 256.
    pub async fn next_batch(&mut self) -> Result<Vec<Arc<Event>>, Error> {
        self.ready().await?;
        self.try_next()
    }

    /// The store's revision up to which this watcher was given everything: what a bookmark may say.
    pub fn revision(&self) -> u64 {
        if let Some(event) = self.taken.front() {
            return event.revision - 1;
        }
        self.ring.read(|events| {
            if self.after < events.floor {
                return self.after;
            }
            let next = self.next.max(events.first);
            match events.at(next) {
                Some(event) => event.revision - 1,
                None => self.root.load().revision,
            }
        })
    }

    /// Takes events out of the ring when none are held. True when some are.
    fn take(&mut self) -> Result<bool, Error> {
        if !self.taken.is_empty() {
            return Ok(true);
        }
        let closed = self.ring.closed.load(Ordering::Acquire);
        let events = self.ring.events.read();
        if self.after < events.floor {
            return Err(Error::Compacted { asked: self.after, oldest: events.floor });
        }
        let mut next = self.next.max(events.first);
        while let Some(event) = events.at(next)
            && self.taken.len() < BATCH
        {
            // A watch may begin in the future: what comes before its start is not for it.
            if event.revision > self.after {
                self.after = event.revision;
                self.taken.push_back(event.clone());
            }
            next += 1;
        }
        self.next = next;
        if self.taken.is_empty() && closed { Err(Error::Closed) } else { Ok(!self.taken.is_empty()) }
    }
}
