//! The recent events of one resource, and the cursors that watchers have into them.
//!
//! Invariant: a watcher gets each event after its start once and in order, or [`Error::Compacted`]; its memory is bounded by
//! [`BATCH`] events however slow it is. While a ring's lock is held for writing the new root is published too, so under the lock
//! a ring holds all events of its resource up to the root's revision. Only the writer changes a ring.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/cacher/watch_cache.go` (window, expiry) and `cache_watcher.go`.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use arc_swap::ArcSwap;
use parking_lot::{RwLock, RwLockWriteGuard};
use tokio::sync::watch;

use crate::{
    Error, Event,
    pack::{IsPresent, Pack},
    state::Root,
};

/// Events that a watcher takes at a time.
const BATCH: usize = 256;
/// Newest events of a ring whose renderings are kept for watchers that lag a little.
const WARM: u64 = 256;

pub(crate) struct Ring {
    resource: Arc<str>,
    events: RwLock<Events>,
    changed: watch::Sender<()>,
    closed: AtomicBool,
    /// The newest event when it was seen that all objects at which packs point are there.
    looked_through: AtomicU64,
}

#[derive(Default)]
pub(crate) struct Events {
    /// Revision of the newest event that was dropped: who has not seen it can not go on.
    floor: u64,
    /// Running number of the oldest event that is kept.
    first: u64,
    /// Running number of the first event that may still hold renderings.
    warm: u64,
    /// The oldest events, oldest pack first.
    packs: VecDeque<Arc<Pack>>,
    /// Events of the first pack that were dropped.
    gone: usize,
    /// Events in packs that were not dropped.
    packed: usize,
    recent: VecDeque<Arc<Event>>,
}

/// Some consecutive events, as a ring holds them.
pub(crate) enum Piece {
    /// The events of a pack but the first few.
    Pack(Arc<Pack>, usize),
    Loose(Vec<Arc<Event>>),
}

impl Piece {
    /// To be called without a lock: a pack takes some milliseconds.
    pub fn open(self, resource: &Arc<str>) -> Vec<Arc<Event>> {
        match self {
            Self::Pack(pack, skip) => pack.open(resource)[skip..].to_vec(),
            Self::Loose(events) => events,
        }
    }
}

impl Events {
    /// Running number of the first event in `recent`.
    fn loose(&self) -> u64 {
        self.first + self.packed as u64
    }

    fn end(&self) -> u64 {
        self.loose() + self.recent.len() as u64
    }

    fn at(&self, number: u64) -> Option<&Arc<Event>> {
        self.recent.get(number.checked_sub(self.loose())? as usize)
    }

    /// The pack in which an event stands, and its place there.
    fn pack_of(&self, number: u64) -> Option<(&Arc<Pack>, usize)> {
        if number >= self.loose() {
            return None;
        }
        let mut place = number.checked_sub(self.first)? as usize + self.gone;
        for pack in &self.packs {
            match place.checked_sub(pack.revisions().len()) {
                None => return Some((pack, place)),
                Some(beyond) => place = beyond,
            }
        }
        None
    }

    fn revision_at(&self, number: u64) -> Option<u64> {
        let loose = || self.at(number).map(|event| event.revision);
        self.pack_of(number).map(|(pack, place)| pack.revisions()[place]).or_else(loose)
    }

    /// Events from that number on: the rest of a pack, or `most` of the newest. `None`: there are none.
    fn piece(&self, number: u64, most: usize) -> Option<Piece> {
        if let Some((pack, place)) = self.pack_of(number) {
            return Some(Piece::Pack(pack.clone(), place));
        }
        let place = number.checked_sub(self.loose())? as usize;
        let events: Vec<_> = self.recent.range(place.min(self.recent.len())..).take(most).cloned().collect();
        (!events.is_empty()).then_some(Piece::Loose(events))
    }

    /// The running number of the first event after `revision`; or the oldest revision that can be asked for.
    fn number_after(&self, revision: u64) -> Result<u64, Error> {
        if revision < self.floor {
            return Err(Error::Compacted { asked: revision, oldest: self.floor });
        }
        let mut number = self.first;
        let mut gone = self.gone;
        for pack in &self.packs {
            let revisions = &pack.revisions()[gone..];
            let before = revisions.partition_point(|have| *have <= revision);
            number += before as u64;
            if before < revisions.len() {
                return Ok(number);
            }
            gone = 0;
        }
        Ok(number + self.recent.partition_point(|event| event.revision <= revision) as u64)
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
        let loose = self.recent.back().map(|event| event.revision);
        let packed = || self.packs.back().and_then(|pack| pack.revisions().last().copied());
        loose.or_else(packed).unwrap_or(self.floor)
    }

    /// The events after `revision`, oldest first; or the oldest revision that can be asked for.
    pub fn after(&self, revision: u64) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        let mut number = self.number_after(revision)?;
        while let Some(piece) = self.piece(number, usize::MAX) {
            number += match &piece {
                Piece::Pack(pack, skip) => pack.revisions().len() - skip,
                Piece::Loose(events) => events.len(),
            } as u64;
            pieces.push(piece);
        }
        Ok(pieces)
    }
}

impl Ring {
    /// `floor`: the revision up to which the resource's events are not known.
    pub fn new(resource: Arc<str>, floor: u64) -> Self {
        let events = RwLock::new(Events { floor, ..Events::default() });
        Self { resource, events, changed: watch::Sender::new(()), closed: AtomicBool::default(), looked_through: AtomicU64::default() }
    }

    pub fn resource(&self) -> &Arc<str> {
        &self.resource
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
        let Some(revision) = events.revision_at(events.first) else { return };
        events.floor = revision;
        events.first += 1;
        if events.packed == 0 {
            events.recent.pop_front();
            if events.recent.is_empty() {
                events.recent = VecDeque::new();
            }
            return;
        }
        events.packed -= 1;
        events.gone += 1;
        if events.packs.front().is_some_and(|pack| pack.revisions().len() == events.gone) {
            events.packs.pop_front();
            events.gone = 0;
        }
    }

    /// Packs the `size` oldest of the events that are not packed, if `loose` newer ones stay. True when it did.
    pub fn pack(&self, size: usize, loose: usize, is_present: IsPresent<'_>) -> bool {
        let oldest: Vec<_> = self.read(|events| match events.recent.len() >= size + loose {
            true => events.recent.range(..size).cloned().collect(),
            false => Vec::new(),
        });
        if oldest.is_empty() {
            return false;
        }
        let pack = Arc::new(Pack::of(&oldest, is_present));
        let mut events = self.events.write();
        events.recent.drain(..oldest.len());
        if events.recent.len() < events.recent.capacity() / 4 {
            events.recent.shrink_to_fit();
        }
        events.packed += oldest.len();
        events.packs.push_back(pack);
        true
    }

    /// Packs once more what points at an object that is no longer there. True when there was something.
    pub fn pack_again(&self, is_present: IsPresent<'_>) -> bool {
        let newest = self.read(Events::newest);
        if self.looked_through.load(Ordering::Relaxed) == newest {
            return false;
        }
        let stale = self.read(|events| events.packs.iter().position(|pack| pack.is_stale(is_present)).map(|place| (place, events.packs[place].clone())));
        let Some((place, pack)) = stale else {
            self.looked_through.store(newest, Ordering::Relaxed);
            return false;
        };
        let pack = Arc::new(Pack::of(&pack.open(&self.resource), is_present));
        self.events.write().packs[place] = pack;
        true
    }

    /// Gives back the memory of all renderings, and of packs that were opened.
    pub fn cool(&self) {
        let mut events = self.events.write();
        events.packs.iter().for_each(|pack| pack.close());
        let end = events.end();
        events.cool(end);
    }

    /// A cursor that begins strictly after `from`.
    pub fn watch(self: &Arc<Self>, root: Arc<ArcSwap<Root>>, from: u64) -> Result<Watch, Error> {
        let changed = self.changed.subscribe();
        let next = self.read(|events| events.number_after(from))?;
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
        let closed = self.ring.closed.load(Ordering::Acquire);
        while self.taken.is_empty() {
            let piece = {
                let events = self.ring.events.read();
                if self.after < events.floor {
                    return Err(Error::Compacted { asked: self.after, oldest: events.floor });
                }
                self.next = self.next.max(events.first);
                events.piece(self.next, BATCH)
            };
            let Some(piece) = piece else { break };
            let mut events = piece.open(&self.ring.resource);
            self.next += events.len() as u64;
            // A watch may begin in the future: what comes before its start is not for it.
            events.drain(..events.partition_point(|event| event.revision <= self.after));
            self.after = events.last().map_or(self.after, |event| event.revision);
            self.taken = events.into();
        }
        if self.taken.is_empty() && closed { Err(Error::Closed) } else { Ok(!self.taken.is_empty()) }
    }
}
