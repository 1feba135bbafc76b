//! Watchers' cursors into a ring.
//!
//! Invariant: a watcher gets each event after its start once and in order, or [`Error::Compacted`]; its memory is bounded by
//! [`BATCH`] events however slow it is. Follows `staging/src/k8s.io/apiserver/pkg/storage/cacher/cache_watcher.go`.

use std::{collections::VecDeque, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{Error, Event, ring::Ring, state::Root};

/// Events that a watcher takes at a time.
const BATCH: usize = 256;

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
    /// `next`: the running number of the first event after the revision `after`; `changed` was subscribed before that was looked up.
    pub(crate) fn new(ring: Arc<Ring>, root: Arc<ArcSwap<Root>>, changed: watch::Receiver<()>, after: u64, next: u64) -> Self {
        Self { ring, root, changed, after, next, taken: VecDeque::new() }
    }

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
            if events.reach(self.after).is_err() {
                return self.after;
            }
            let next = self.next.max(events.first());
            match events.revision_at(next) {
                Some(revision) => revision - 1,
                None => self.root.load().revision,
            }
        })
    }

    /// Takes events out of the ring when none are held. True when some are.
    fn take(&mut self) -> Result<bool, Error> {
        if !self.taken.is_empty() {
            return Ok(true);
        }
        let closed = self.ring.is_closed();
        while self.taken.is_empty() {
            let piece = self.ring.read(|events| {
                events.reach(self.after)?;
                self.next = self.next.max(events.first());
                Ok(events.piece(self.next, BATCH))
            })?;
            let Some(piece) = piece else { break };
            let mut events = piece.open(self.ring.resource());
            self.next += events.len() as u64;
            // A watch may begin in the future: what comes before its start is not for it.
            events.drain(..events.partition_point(|event| event.revision <= self.after));
            self.after = events.last().map_or(self.after, |event| event.revision);
            self.taken = events.into();
        }
        if self.taken.is_empty() && closed { Err(Error::Closed) } else { Ok(!self.taken.is_empty()) }
    }
}
