//! A ring's packs, as one row of events.
//!
//! Invariant: places count from the oldest event that was not dropped.

use std::{collections::VecDeque, sync::Arc};

use crate::pack::{IsPresent, Pack};

#[derive(Default)]
pub(crate) struct Packs {
    /// Oldest first.
    packs: VecDeque<Arc<Pack>>,
    /// Events of the first pack that were dropped.
    gone: usize,
    /// Events that were not.
    len: usize,
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
        self.len -= 1;
        self.gone += 1;
        if oldest.revisions().len() == self.gone {
            self.packs.pop_front();
            self.gone = 0;
        }
    }

    /// A pack that is to be packed again, and where it stands.
    pub fn stale(&self, is_present: IsPresent<'_>) -> Option<(usize, Arc<Pack>)> {
        let place = self
            .packs
            .iter()
            .position(|pack| pack.is_stale(is_present))?;
        Some((place, self.packs[place].clone()))
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
