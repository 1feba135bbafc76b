//! What the writer knows of the past that is kept: the events in the rings, the batches in the log, and what they cost.
//!
//! Invariant: each event in a ring stands here once, in the order of revisions, so that the oldest of all resources goes first.

use std::{sync::Arc, time::Instant};

use crate::{
    Event, EventKind, History,
    limits::{self, Ledger},
    ring::Ring,
};

#[derive(Default)]
pub(crate) struct Past {
    history: History,
    /// Bytes of all present objects.
    pub live: usize,
    /// The rings that hold the events, oldest event first.
    events: Ledger<Arc<Ring>>,
    /// The last revisions of the batches in the log, oldest first.
    batches: Ledger<u64>,
}

impl Past {
    pub fn new(history: History) -> Self {
        Self {
            history,
            ..Self::default()
        }
    }

    /// Counts an event that stands in `ring`.
    pub fn event(&mut self, event: &Event, ring: Arc<Ring>, now: Instant) {
        let superseded = event.previous.as_ref().map(|previous| previous.bytes.len());
        if event.kind != EventKind::Deleted {
            self.live += event.object.bytes.len();
        }
        self.live -= superseded.unwrap_or(0);
        self.events.push(ring, limits::event_cost(superseded), now);
    }

    /// Counts a batch in the log.
    pub fn batch(&mut self, last: u64, bytes: usize, now: Instant) {
        self.batches.push(last, bytes, now);
    }

    /// Drops the events that memory has no room for.
    pub fn trim(&mut self, now: Instant) {
        while limits::drop_oldest(&self.events, &self.history, self.live, now) {
            let Some(ring) = self.events.pop() else { break };
            ring.drop_oldest();
        }
    }

    /// The revision up to which the log is to be folded now, if it is.
    pub fn fold_through(&self, idle: bool, now: Instant) -> Option<u64> {
        limits::fold_through(&self.batches, &self.history, idle, now)
    }

    /// The log was folded up to `through`.
    pub fn folded(&mut self, through: u64) {
        while self.batches.front().is_some_and(|last| *last <= through) {
            self.batches.pop();
        }
    }

    /// When something will be too old next.
    pub fn next_due(&self) -> Option<Instant> {
        let events = self.events.oldest().map(|since| since + self.history.age);
        let batches = self
            .batches
            .oldest()
            .map(|since| since + self.history.age * 2);
        [events, batches].into_iter().flatten().min()
    }
}
