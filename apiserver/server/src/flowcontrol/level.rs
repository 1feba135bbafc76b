//! A priority level at work: its queues and all that is counted of them, behind one lock.
//!
//! Invariant: whatever makes seats free dispatches those whose turn it is, before the lock is.
//! Follows `priorityLevelState` of `pkg/util/flowcontrol/apf_controller.go` and `Finish` of its queue sets, in `k8s.io/apiserver`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use parking_lot::{Mutex, MutexGuard};
use tokio::sync::{Notify, oneshot};

use super::{
    dropped::Dropped,
    figures::{Figures, SECONDS},
    queues::{Mode, Queues, Slot, Why},
    rules::By,
};
use crate::{auth::User, request::RequestInfo};

/// A level as requests know it.
pub struct Level {
    pub name: Arc<str>,
    /// The most seats that a request is estimated at; 0: nothing is said.
    pub widest: AtomicUsize,
    state: Mutex<State>,
    since: Instant,
    /// Told when the level is no longer wanted and its last request has gone.
    emptied: Arc<Notify>,
}

pub struct State {
    pub queues: Queues<Asking>,
    pub figures: Vec<Figures>,
    dropped: Dropped,
    /// It is no longer configured, and goes when it is idle.
    pub quiescing: bool,
    pub ends: Ends,
}

/// How requests of a level ended, as its dump tells.
#[derive(Clone, Copy, Debug, Default)]
pub struct Ends {
    pub dispatched: u64,
    pub refused: u64,
    pub cancelled: u64,
}

/// A request that waits or is answered.
pub struct Asking {
    /// The place of its schema's figures.
    pub place: usize,
    pub user: Arc<User>,
    pub info: Arc<RequestInfo>,
    pub arrived: Instant,
    /// Where its slot is sent, while it waits.
    pub turn: Option<oneshot::Sender<Slot>>,
}

/// There was no seat; how many seconds to stay away.
#[derive(Debug)]
pub struct Full(pub u64);

impl Level {
    pub fn new(name: &str, now: Instant, mode: Mode, limit: usize, emptied: &Arc<Notify>) -> Level {
        Level {
            name: name.into(),
            widest: AtomicUsize::new(0),
            state: Mutex::new(State {
                queues: Queues::new(now, mode, limit),
                figures: Vec::new(),
                dropped: Dropped::default(),
                quiescing: false,
                ends: Ends::default(),
            }),
            since: now,
            emptied: emptied.clone(),
        }
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Where the figures of a schema are.
    pub fn place_of(&self, schema: &str, by: By) -> usize {
        let figures = &mut self.state().figures;
        let known = figures.iter().position(|known| &*known.schema == schema);
        let place = known.unwrap_or_else(|| {
            figures.push(Figures::new(schema, by));
            figures.len() - 1
        });
        figures[place].by = by;
        place
    }

    /// Other rules or another limit.
    pub fn configure(&self, now: Instant, mode: Mode, limit: usize) {
        let mut state = self.state();
        state.queues.configure(now, mode, limit);
        state.dispatch(now);
    }

    pub fn is_idle(&self) -> bool {
        self.state().queues.is_idle()
    }

    /// A request has been answered. Its slot comes back where its seats are to be taken for some time more.
    pub fn leave(&self, slot: Slot) -> Option<(Slot, Duration)> {
        let now = Instant::now();
        let mut state = self.state();
        let (asking, work, started) = state.queues.finish(now, &slot)?;
        let seconds = now.saturating_duration_since(started).as_secs_f64();
        if let Some(figures) = state.figures.get_mut(asking.place) {
            match asking.info.verb.as_str() {
                "watch" => figures.watched.see(&SECONDS, seconds),
                _ => figures.answered.see(&SECONDS, seconds),
            }
        }
        self.tell_when_empty(&state);
        if !work.lingers.is_zero() {
            return Some((slot, work.lingers));
        }
        state.queues.release(now, slot);
        state.dispatch(now);
        None
    }

    pub fn release(&self, slot: Slot) {
        let now = Instant::now();
        let mut state = self.state();
        state.queues.release(now, slot);
        state.dispatch(now);
    }

    pub fn tell_when_empty(&self, state: &State) {
        if state.quiescing && state.queues.is_idle() {
            self.emptied.notify_one();
        }
    }

    pub fn refuse(
        &self,
        now: Instant,
        state: &mut State,
        place: usize,
        why: Why,
        arrived: Instant,
    ) -> Full {
        state.ends.refused += 1;
        if let Some(figures) = state.figures.get_mut(place) {
            figures.refuse(why, now.saturating_duration_since(arrived));
        }
        let second = now.saturating_duration_since(self.since).as_secs();
        Full(state.dropped.note(second))
    }
}

impl State {
    /// Dispatches those whose turn it is.
    pub fn dispatch(&mut self, now: Instant) {
        while let Some(slot) = self.queues.next(now) {
            let Some(asking) = self.queues.request(&slot) else {
                continue;
            };
            let waited = now.saturating_duration_since(asking.arrived);
            let (place, turn) = (asking.place, asking.turn.take());
            self.begun(place, waited);
            let Err(slot) = turn.map_or(Ok(()), |turn| turn.send(slot)) else {
                continue;
            };
            // who waited has gone without giving up
            self.queues.finish(now, &slot);
            self.queues.release(now, slot);
        }
    }

    pub fn begun(&mut self, place: usize, waited: Duration) {
        self.ends.dispatched += 1;
        if let Some(figures) = self.figures.get_mut(place) {
            figures.dispatched += 1;
            if !self.queues.is_exempt() {
                figures.waited.see(&SECONDS, waited.as_secs_f64());
            }
        }
    }
}

/// The widest that a request of this level is estimated at, where `most` is the widest of all.
pub fn widest(level: &Level, most: usize) -> usize {
    match level.widest.load(Ordering::Relaxed) {
        0 => most,
        widest => widest.min(most),
    }
}
