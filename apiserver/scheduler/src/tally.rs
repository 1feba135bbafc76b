//! How many pods of a kind each node has, counted once and then kept up to date: what spreading and affinity ask for each pod anew.
//!
//! Invariant: a count is that of the pods that the cache counts on the node. What was not asked for longest is forgotten.

use std::{collections::HashMap, sync::Arc};

use skiff_api::machinery::selector::Selector;

use crate::{pod::PodInfo, terms::Names};

/// Kinds of pods that are counted at once.
const MOST: usize = 256;

/// Which pods are meant: those that all groups mean.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Matcher {
    pub groups: Vec<(Names, Selector)>,
    /// Pods that are being deleted do not count.
    pub living: bool,
}

impl Matcher {
    pub fn matches(&self, pod: &PodInfo) -> bool {
        !(self.living && pod.is_deleting())
            && self
                .groups
                .iter()
                .all(|(names, pods)| names.contains(&pod.namespace) && pods.matches(pod.labels()))
    }
}

/// Numbers by the node's place in the cache.
pub type Counts = Arc<Vec<u32>>;

struct Slot {
    matcher: Matcher,
    counts: Counts,
    used: u64,
}

/// All that is counted.
#[derive(Default)]
pub struct Tallies {
    slots: Vec<Slot>,
    places: HashMap<Matcher, usize>,
    time: u64,
}

impl Tallies {
    /// The counts of a kind of pods; `all` gives every pod with its node's place, for a kind that is not counted yet.
    pub fn of<'a>(
        &mut self,
        matcher: &Matcher,
        nodes: usize,
        all: impl Iterator<Item = (usize, &'a PodInfo)>,
    ) -> Counts {
        self.time += 1;
        if let Some(slot) = self
            .places
            .get(matcher)
            .and_then(|place| self.slots.get_mut(*place))
        {
            slot.used = self.time;
            return slot.counts.clone();
        }
        let mut counts = vec![0; nodes];
        all.filter(|(_, pod)| matcher.matches(pod))
            .for_each(|(node, _)| counts[node] += 1);
        let slot = Slot {
            matcher: matcher.clone(),
            counts: Arc::new(counts),
            used: self.time,
        };
        let counts = slot.counts.clone();
        let place = self.free_place(slot);
        self.places.insert(matcher.clone(), place);
        counts
    }

    fn free_place(&mut self, slot: Slot) -> usize {
        if self.slots.len() < MOST {
            self.slots.push(slot);
            return self.slots.len() - 1;
        }
        let oldest = (0..self.slots.len())
            .min_by_key(|place| self.slots[*place].used)
            .unwrap_or(0);
        self.places.remove(&self.slots[oldest].matcher);
        self.slots[oldest] = slot;
        oldest
    }

    /// A pod came to a node, or left it.
    pub fn change(&mut self, pod: &PodInfo, node: usize, more: bool) {
        for slot in self
            .slots
            .iter_mut()
            .filter(|slot| slot.matcher.matches(pod))
        {
            let counts = Arc::make_mut(&mut slot.counts);
            if counts.len() <= node {
                counts.resize(node + 1, 0);
            }
            counts[node] = if more {
                counts[node] + 1
            } else {
                counts[node].saturating_sub(1)
            };
        }
    }
}
