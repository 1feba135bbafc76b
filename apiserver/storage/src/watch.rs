//! Watchers' cursors into a ring.
//!
//! Invariant: a watcher gets each event after its start once and in order, or [`Error::Compacted`]; its memory is bounded by
//! [`BATCH`] events however slow it is. Follows `staging/src/k8s.io/apiserver/pkg/storage/cacher/cache_watcher.go`.

use std::{collections::VecDeque, sync::Arc};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::{
    Error, Event, Interest,
    interest::Slot,
    ring::{Events, Piece, Ring},
    state::Root,
};

/// Events that a watcher takes at a time.
const BATCH: usize = 256;

/// A cursor into the recent events of one resource. Dropping it ends the watch.
pub struct Watch {
    ring: Arc<Ring>,
    root: Arc<ArcSwap<Root>>,
    signal: Signal,
    /// Revision of the last event taken out of the ring, or where the watch began.
    after: u64,
    /// Running number of the next event to take.
    next: u64,
    /// There may be an event for it from `next` on, whatever the signal says.
    behind: bool,
    /// Taken, but not yielded.
    taken: VecDeque<Arc<Event>>,
}

/// What tells a watcher that there is something to take.
pub(crate) enum Signal {
    All(watch::Receiver<()>),
    Some(Arc<Slot>, Interest),
}

impl Watch {
    /// `next`: the running number of the first event after the revision `after`; `signal` was there before that was looked up.
    pub(crate) fn new(
        ring: Arc<Ring>,
        root: Arc<ArcSwap<Root>>,
        signal: Signal,
        after: u64,
        next: u64,
    ) -> Self {
        Self {
            ring,
            root,
            signal,
            after,
            next,
            behind: true,
            taken: VecDeque::new(),
        }
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
            if let Signal::All(changed) = &mut self.signal {
                changed.borrow_and_update();
            }
            if self.take()? {
                return Ok(());
            }
            match &mut self.signal {
                Signal::All(changed) => changed.changed().await.map_err(|_| Error::Closed)?,
                Signal::Some(slot, _) => slot.told.notified().await,
            }
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
            let mut next = self.next;
            if let (Signal::Some(slot, _), false) = (&self.signal, self.behind) {
                match slot.peek() {
                    Some(first) => next = next.max(first),
                    None => return self.root.load().revision,
                }
            } else if events.reach(self.after).is_err() {
                return self.after;
            }
            match events.revision_at(next.max(events.first())) {
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
        let ring = self.ring.clone();
        while self.taken.is_empty() {
            let Some(piece) = ring.read(|events| self.piece(events))? else {
                break;
            };
            let mut events = piece.open(ring.resource());
            self.next += events.len() as u64;
            // A watch may begin in the future: what comes before its start is not for it.
            events.drain(..events.partition_point(|event| event.revision <= self.after));
            self.after = events.last().map_or(self.after, |event| event.revision);
            if let Signal::Some(_, interest) = &self.signal {
                events.retain(|event| interest.takes(event));
            }
            self.taken = events.into();
        }
        if self.taken.is_empty() && closed {
            Err(Error::Closed)
        } else {
            Ok(!self.taken.is_empty())
        }
    }

    /// The next events; `None`: it has seen all. Under the ring's lock.
    fn piece(&mut self, events: &Events) -> Result<Option<Piece>, Error> {
        if let Signal::Some(slot, _) = &self.signal {
            match slot.take() {
                // nothing before that one was for it
                Some(first) if !self.behind => {
                    self.next = self.next.max(first);
                    if self.next >= events.first() {
                        self.after = events
                            .revision_at(self.next)
                            .map_or(self.after, |revision| self.after.max(revision - 1));
                    }
                }
                None if !self.behind => {
                    self.next = events.end();
                    self.after = self.after.max(self.root.load().revision);
                    return Ok(None);
                }
                _ => {}
            }
        }
        events.reach(self.after)?;
        self.next = self.next.max(events.first());
        let piece = events.piece(self.next, BATCH);
        self.behind = piece
            .as_ref()
            .is_some_and(|piece| self.next + piece.len() < events.end());
        Ok(piece)
    }
}
