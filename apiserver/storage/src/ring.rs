//! The recent events of one resource, the older ones of them packed.
//!
//! Invariant: while a ring's lock is held for writing the new root is published too, so under the lock a ring holds all events of its
//! resource up to the root's revision. Only the writer changes a ring.
//! Follows `staging/src/k8s.io/apiserver/pkg/storage/cacher/watch_cache.go` (window, expiry).

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

use crate::{
    Error, Event, Interest, Watch,
    interest::Slots,
    pack::{IsPresent, Pack},
    packs::Packs,
    state::Root,
    watch::Signal,
};

/// Bytes of objects that are packed together at most, unless one alone has more: the writer does nothing else meanwhile.
const PACK_BYTES: usize = 1 << 20;
/// Newest events of a ring whose renderings are kept for watchers that lag a little.
const WARM: u64 = 256;

pub(crate) struct Ring {
    resource: Arc<str>,
    events: RwLock<Events>,
    changed: watch::Sender<()>,
    slots: Slots,
    closed: AtomicBool,
}

#[derive(Default)]
pub(crate) struct Events {
    /// Revision of the newest event that was dropped: who has not seen it can not go on.
    floor: u64,
    /// Running number of the oldest event that is kept.
    first: u64,
    /// Running number of the first event that may still hold renderings.
    warm: u64,
    /// The oldest events.
    packs: Packs,
    recent: VecDeque<Arc<Event>>,
}

/// Some consecutive events, as a ring holds them.
pub(crate) enum Piece {
    /// The events of a pack but the first few.
    Pack(Arc<Pack>, usize),
    Loose(Vec<Arc<Event>>),
}

impl Piece {
    /// How many events it has.
    pub fn len(&self) -> u64 {
        match self {
            Self::Pack(pack, skip) => (pack.revisions().len() - skip) as u64,
            Self::Loose(events) => events.len() as u64,
        }
    }

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
        self.first + self.packs.len() as u64
    }

    /// The running number that the next event will have.
    pub fn end(&self) -> u64 {
        self.loose() + self.recent.len() as u64
    }

    fn at(&self, number: u64) -> Option<&Arc<Event>> {
        self.recent.get(number.checked_sub(self.loose())? as usize)
    }

    /// Running number of the oldest event that is kept.
    pub fn first(&self) -> u64 {
        self.first
    }

    pub fn revision_at(&self, number: u64) -> Option<u64> {
        let packed = number
            .checked_sub(self.first)
            .and_then(|place| self.packs.revision_at(place as usize));
        packed.or_else(|| self.at(number).map(|event| event.revision))
    }

    /// Events from that number on: the rest of a pack, or `most` of the newest. `None`: there are none.
    pub fn piece(&self, number: u64, most: usize) -> Option<Piece> {
        if let Some((pack, place)) = self.packs.at(number.checked_sub(self.first)? as usize) {
            return Some(Piece::Pack(pack.clone(), place));
        }
        let place = number.checked_sub(self.loose())? as usize;
        let events: Vec<_> = self
            .recent
            .range(place.min(self.recent.len())..)
            .take(most)
            .cloned()
            .collect();
        (!events.is_empty()).then_some(Piece::Loose(events))
    }

    /// Who has seen all up to `revision` can go on; else the oldest revision that can be asked for.
    pub fn reach(&self, revision: u64) -> Result<(), Error> {
        if revision < self.floor {
            Err(Error::Compacted {
                asked: revision,
                oldest: self.floor,
            })
        } else {
            Ok(())
        }
    }

    /// The running number of the first event after `revision`; errors as [`Events::reach`].
    fn number_after(&self, revision: u64) -> Result<u64, Error> {
        self.reach(revision)?;
        let packed = self.packs.until(revision);
        let loose = if packed < self.packs.len() {
            0
        } else {
            self.recent
                .partition_point(|event| event.revision <= revision)
        };
        Ok(self.first + (packed + loose) as u64)
    }

    pub fn push(&mut self, event: Arc<Event>) {
        if let Some(previous) = &event.previous {
            self.packs.replaced(previous.revision);
        }
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
        loose.or_else(|| self.packs.newest()).unwrap_or(self.floor)
    }

    /// The events after `revision`, oldest first; errors as [`Events::reach`].
    pub fn after(&self, revision: u64) -> Result<Vec<Piece>, Error> {
        let mut pieces = Vec::new();
        let mut number = self.number_after(revision)?;
        while let Some(piece) = self.piece(number, usize::MAX) {
            number += piece.len();
            pieces.push(piece);
        }
        Ok(pieces)
    }
}

impl Ring {
    /// `floor`: the revision up to which the resource's events are not known.
    pub fn new(resource: Arc<str>, floor: u64) -> Self {
        let events = RwLock::new(Events {
            floor,
            ..Events::default()
        });
        Self {
            resource,
            events,
            changed: watch::Sender::new(()),
            slots: Slots::default(),
            closed: AtomicBool::default(),
        }
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

    /// Puts an event in, under the lock, and tells those of it who ask for less than all.
    pub fn push(&self, events: &mut Events, event: &Arc<Event>) {
        let number = events.end();
        events.push(event.clone());
        self.slots.tell(event, number);
    }

    /// Wakes the watchers who ask for everything.
    pub fn wake(&self) {
        if self.changed.receiver_count() > 0 {
            self.changed.send_replace(());
        }
    }

    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
        self.wake();
        self.slots.wake();
    }

    /// Forgets the oldest event.
    pub fn drop_oldest(&self) {
        let mut events = self.events.write();
        let Some(revision) = events.revision_at(events.first) else {
            return;
        };
        events.floor = revision;
        events.first += 1;
        if events.packs.len() > 0 {
            return events.packs.drop_oldest();
        }
        events.recent.pop_front();
        if events.recent.is_empty() {
            events.recent = VecDeque::new();
        }
    }

    /// Packs the oldest of the events that are not packed, if there are `size` of them besides `loose` newer ones: that many, or fewer when
    /// they are large. True when it did.
    pub fn pack(&self, size: usize, loose: usize, is_present: IsPresent<'_>) -> bool {
        let oldest: Vec<_> = self.read(|events| match events.recent.len() >= size + loose {
            true => together(events.recent.range(..size)),
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
        events.packs.push(pack);
        true
    }

    /// Packs once more what points at objects that are no longer there. True when there was something.
    pub fn pack_again(&self, is_present: IsPresent<'_>) -> bool {
        let Some((place, pack)) = self.events.write().packs.stale() else {
            return false;
        };
        let pack = Arc::new(Pack::of(&pack.open(&self.resource), is_present));
        self.events.write().packs.replace(place, pack);
        true
    }

    /// Gives back the memory of all renderings, and of packs that were opened.
    pub fn cool(&self) {
        let mut events = self.events.write();
        events.packs.close();
        let end = events.end();
        events.cool(end);
    }

    /// A cursor that begins strictly after `from`.
    pub fn watch(
        self: &Arc<Self>,
        root: Arc<ArcSwap<Root>>,
        from: u64,
        interest: Interest,
    ) -> Result<Watch, Error> {
        let signal = match interest.is_everything() {
            true => Signal::All(self.changed.subscribe()),
            false => Signal::Some(self.slots.add(interest.clone()), interest),
        };
        let next = self.read(|events| events.number_after(from))?;
        Ok(Watch::new(self.clone(), root, signal, from, next))
    }

    /// No more events will come.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }
}

/// The first of these, up to [`PACK_BYTES`] of objects, but one at least.
fn together<'a>(events: impl Iterator<Item = &'a Arc<Event>>) -> Vec<Arc<Event>> {
    let mut bytes = 0;
    let fits = |event: &&Arc<Event>| {
        let before = bytes;
        bytes += event.object.bytes.len()
            + event
                .previous
                .as_ref()
                .map_or(0, |previous| previous.bytes.len());
        before == 0 || bytes <= PACK_BYTES
    };
    events.take_while(fits).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EventKind, Key, Object};

    fn version(revision: u64) -> Arc<Object> {
        let key = Key {
            resource: "pods".into(),
            namespace: "ns".into(),
            name: revision.to_string().into(),
        };
        let bytes = vec![b' '; 100].into();
        Arc::new(Object::new(key, revision, bytes, Default::default()))
    }

    /// A pack lets go of what was replaced when that is an eighth of it, whatever else there is; no pack is opened for less.
    #[test]
    fn what_was_replaced_is_packed() {
        let ring = Ring::new("pods".into(), 0);
        let first: Vec<_> = (1..=64).map(version).collect();
        let made = |object: &Arc<Object>| Event::new(EventKind::Added, object.clone(), None);
        for object in &first {
            ring.lock().push(Arc::new(made(object)));
        }
        while ring.pack(16, 0, &|_| true) {}
        assert!(!ring.pack_again(&|_| true), "nothing was replaced");
        let replace = |at: usize, by: u64| {
            let previous = Some(first[at].clone());
            let event = Event::new(EventKind::Modified, version(by), previous);
            ring.lock().push(Arc::new(event));
        };
        // who holds a version: this test, its pack, and the event that replaced it
        let held = |at: usize| Arc::strong_count(&first[at]);
        let is_present = |object: &Arc<Object>| !matches!(object.revision, 18 | 20 | 40);
        assert_eq!((held(17), held(19), held(39)), (2, 2, 2));
        replace(17, 65);
        replace(39, 66);
        assert!(!ring.pack_again(&is_present));
        assert_eq!((held(17), held(19), held(39)), (3, 2, 3));
        replace(19, 67);
        assert!(ring.pack_again(&is_present) && !ring.pack_again(&is_present));
        ring.cool();
        assert_eq!((held(17), held(19), held(39)), (2, 2, 3));

        // what is dropped is of no more interest
        for _ in 0..48 {
            ring.drop_oldest();
        }
        replace(40, 68);
        replace(50, 69);
        replace(51, 70);
        let has_one_left = |object: &Arc<Object>| !matches!(object.revision, 51 | 52);
        assert!(ring.pack_again(&has_one_left) && !ring.pack_again(&has_one_left));
    }

    #[test]
    fn large_events_are_packed_by_few() {
        let event = |revision: u64, kilobytes: usize| {
            let key = Key {
                resource: "pods".into(),
                namespace: "ns".into(),
                name: "a".into(),
            };
            let bytes = vec![b' '; kilobytes << 10].into();
            Arc::new(Event::new(
                EventKind::Added,
                Arc::new(Object::new(key, revision, bytes, Default::default())),
                None,
            ))
        };
        let ring = Ring::new("pods".into(), 0);
        for (revision, kilobytes) in [
            (1, 400),
            (2, 400),
            (3, 400),
            (4, 3000),
            (5, 1),
            (6, 1),
            (7, 1),
            (8, 1),
        ] {
            ring.lock().push(event(revision, kilobytes));
        }
        let mut packed = Vec::new();
        while ring.pack(3, 1, &|_| false) {
            packed.push(ring.read(|events| events.packs.len()));
        }
        assert_eq!(
            packed,
            [2, 3, 4, 7],
            "two of 400 KB, one that 3 MB would follow, those 3 MB, the small ones"
        );
        let opened: Vec<_> = ring
            .read(|events| events.after(0))
            .unwrap()
            .into_iter()
            .flat_map(|piece| piece.open(ring.resource()))
            .collect();
        assert_eq!(
            opened
                .iter()
                .map(|event| event.revision)
                .collect::<Vec<_>>(),
            [1, 2, 3, 4, 5, 6, 7, 8]
        );
    }
}
