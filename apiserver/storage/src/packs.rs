//! A ring's packs, as one row of events.
//!
//! Invariant: places count from the oldest event that was not dropped. No pack is looked at but those whose objects were replaced.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::Arc,
};

use crate::pack::Pack;

/// A pack is packed again when one of so many of its events tells of an object that was replaced.
const SHARE: usize = 8;

#[derive(Default)]
pub(crate) struct Packs {
    /// Oldest first.
    packs: VecDeque<Arc<Pack>>,
    /// Events of the first pack that were dropped.
    gone: usize,
    /// Events that were not.
    len: usize,
    /// Revisions of packed events whose objects are no longer present, and at which their packs still point.
    replaced: BTreeSet<u64>,
    /// Those of them that nobody has looked at.
    unseen: Vec<u64>,
}

impl Packs {
    pub fn len(&self) -> usize {
        self.len
    }

    /// The pack of the event at `place`, and its place there.
    pub fn at(&self, place: usize) -> Option<(&Arc<Pack>, usize)> {
        if place >= self.len {
            return None;
        }
        let mut place = place + self.gone;
        for pack in &self.packs {
            match place.checked_sub(pack.revisions().len()) {
                None => return Some((pack, place)),
                Some(beyond) => place = beyond,
            }
        }
        None
    }

    pub fn revision_at(&self, place: usize) -> Option<u64> {
        self.at(place).map(|(pack, place)| pack.revisions()[place])
    }

    pub fn newest(&self) -> Option<u64> {
        self.packs
            .back()
            .and_then(|pack| pack.revisions().last().copied())
    }

    /// How many events are not newer than `revision`.
    pub fn until(&self, revision: u64) -> usize {
        let whole = self.packs.partition_point(|pack| {
            pack.revisions()
                .last()
                .is_some_and(|last| *last <= revision)
        });
        let in_whole: usize = self
            .packs
            .range(..whole)
            .map(|pack| pack.revisions().len())
            .sum();
        let in_next = self.packs.get(whole).map_or(0, |pack| {
            pack.revisions().partition_point(|have| *have <= revision)
        });
        (in_whole + in_next).saturating_sub(self.gone)
    }

    pub fn push(&mut self, pack: Arc<Pack>) {
        self.len += pack.revisions().len();
        self.packs.push_back(pack);
    }

    pub fn drop_oldest(&mut self) {
        let Some(oldest) = self.packs.front() else {
            return;
        };
        if let Some(revision) = oldest.revisions().get(self.gone) {
            self.replaced.remove(revision);
        }
        self.len -= 1;
        self.gone += 1;
        if oldest.revisions().len() == self.gone {
            self.packs.pop_front();
            self.gone = 0;
        }
    }

    /// The object that the event of this revision told of is no longer present; whoever packs that event later sees it.
    pub fn replaced(&mut self, revision: u64) {
        let oldest = self.revision_at(0);
        if oldest.is_some_and(|oldest| oldest <= revision)
            && self.newest().is_some_and(|newest| revision <= newest)
            && self.replaced.insert(revision)
        {
            self.unseen.push(revision);
        }
    }

    /// A pack that is to be packed again, and where it stands.
    pub fn stale(&mut self) -> Option<(usize, Arc<Pack>)> {
        while let Some(revision) = self.unseen.pop() {
            let place = self.packs.partition_point(|pack| {
                let last = pack.revisions().last();
                last.is_some_and(|last| *last < revision)
            });
            let Some(pack) = self.packs.get(place) else {
                continue;
            };
            let (Some(first), Some(last)) = (pack.revisions().first(), pack.revisions().last())
            else {
                continue;
            };
            let gone = self.replaced.range(first..=last);
            if gone.count() * SHARE >= pack.revisions().len() {
                while let Some(gone) = self.replaced.range(first..=last).next().copied() {
                    self.replaced.remove(&gone);
                }
                return Some((place, pack.clone()));
            }
        }
        None
    }

    /// Puts the same events in the place of the pack that stands there.
    pub fn replace(&mut self, place: usize, pack: Arc<Pack>) {
        self.packs[place] = pack;
    }

    /// Forgets what was opened.
    pub fn close(&self) {
        self.packs.iter().for_each(|pack| pack.close());
    }
}
