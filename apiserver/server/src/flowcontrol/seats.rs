//! Requests that have seats of a level, or wait for them.
//!
//! Invariant: seats go back when what holds them is dropped, however a request ends; who waits does so until a moment that is told, and who gives up
//! leaves nothing behind. Where there are seats, a request takes the level's lock twice and for a moment, and nothing is allocated for it.
//! Follows `Handle` of `pkg/util/flowcontrol/apf_filter.go` of `k8s.io/apiserver`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    figures::{LENGTHS, SEATS, WATCHERS},
    level::{Asking, Full, Level},
    queues::{Arrival, Slot, Ticket, Why},
    schema::Schema,
    work::Work,
};
use crate::{auth::User, request::RequestInfo};

/// A request that comes.
pub struct Coming<'a> {
    pub user: &'a Arc<User>,
    pub info: &'a Arc<RequestInfo>,
    pub work: Work,
    /// Who watches what it writes, if it writes.
    pub watchers: Option<usize>,
    /// Until when it may wait.
    pub until: Instant,
}

/// The seats of a request; dropped, they are free, or will be when it lingers no more.
pub struct Seats {
    pub schema: Arc<Schema>,
    slot: Option<Slot>,
}

/// Seats for a request that `schema` takes, at once or when its turn comes.
pub async fn enter(schema: Arc<Schema>, coming: Coming<'_>) -> Result<Seats, Full> {
    let waiting = match schema.arrive(&coming) {
        Entered::Seats(slot) => {
            return Ok(Seats {
                schema,
                slot: Some(slot),
            });
        }
        Entered::Full(full) => return Err(full),
        Entered::Waits(ticket, turn) => Waiting {
            level: &schema.level,
            ticket: Some(ticket),
            turn,
        },
    };
    let slot = waiting.wait(coming.until).await?;
    Ok(Seats {
        schema,
        slot: Some(slot),
    })
}

enum Entered {
    Seats(Slot),
    Full(Full),
    Waits(Ticket, oneshot::Receiver<Slot>),
}

impl Schema {
    fn arrive(&self, coming: &Coming<'_>) -> Entered {
        let flow = self.flow(coming.user, coming.info);
        let (level, place, now) = (&*self.level, self.place, Instant::now());
        let asking = Asking {
            place,
            user: coming.user.clone(),
            info: coming.info.clone(),
            arrived: now,
            turn: None,
        };
        let mut state = level.state();
        let state = &mut *state;
        if let Some(figures) = state.figures.get_mut(place) {
            figures.seats.see(&SEATS, coming.work.width() as f64);
            if let Some(watchers) = coming.watchers {
                figures.watchers.see(&WATCHERS, watchers as f64);
            }
        }
        match state.queues.arrive(now, flow, coming.work, asking) {
            Arrival::Dispatched(slot) => {
                state.begun(place, Duration::ZERO);
                Entered::Seats(slot)
            }
            Arrival::Refused(why) => {
                let full = level.refuse(now, state, place, why, now);
                level.tell_when_empty(state);
                Entered::Full(full)
            }
            Arrival::Waits(ticket, nth) => {
                let (sender, turn) = oneshot::channel();
                if let Some(asking) = state.queues.waits(&ticket) {
                    asking.turn = Some(sender);
                }
                if let Some(figures) = state.figures.get_mut(place) {
                    figures.lengths.see(&LENGTHS, nth as f64);
                }
                state.dispatch(now);
                Entered::Waits(ticket, turn)
            }
        }
    }
}

/// A request in a queue; dropped, it has given up.
struct Waiting<'l> {
    level: &'l Level,
    ticket: Option<Ticket>,
    turn: oneshot::Receiver<Slot>,
}

impl Waiting<'_> {
    async fn wait(mut self, until: Instant) -> Result<Slot, Full> {
        if let Ok(Ok(slot)) = tokio::time::timeout_at(until.into(), &mut self.turn).await {
            self.ticket = None;
            return Ok(slot);
        }
        match self.give_up() {
            GaveUp::Late(slot) => Ok(slot),
            GaveUp::Full(full) => Err(full),
            // it cannot be: who was not sent a slot waits
            GaveUp::Before => Err(Full(1)),
        }
    }

    /// Leaves the queue, unless its turn came just now.
    fn give_up(&mut self) -> GaveUp {
        let Some(ticket) = self.ticket.take() else {
            return GaveUp::Before;
        };
        let now = Instant::now();
        let mut state = self.level.state();
        let Some(asking) = state.queues.give_up(now, &ticket) else {
            return match self.turn.try_recv() {
                Ok(slot) => GaveUp::Late(slot),
                Err(_) => GaveUp::Before,
            };
        };
        state.ends.cancelled += 1;
        let (place, arrived) = (asking.place, asking.arrived);
        let full = self
            .level
            .refuse(now, &mut state, place, Why::TimeOut, arrived);
        // one that was too wide may have stood before others
        state.dispatch(now);
        self.level.tell_when_empty(&state);
        GaveUp::Full(full)
    }
}

enum GaveUp {
    Late(Slot),
    Full(Full),
    Before,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let GaveUp::Late(slot) = self.give_up()
            && let Some((slot, _)) = self.level.leave(slot)
        {
            self.level.release(slot);
        }
    }
}

impl Drop for Seats {
    fn drop(&mut self) {
        let Some(slot) = self.slot.take() else { return };
        let level = &self.schema.level;
        let Some((slot, lingers)) = level.leave(slot) else {
            return;
        };
        if tokio::runtime::Handle::try_current().is_err() {
            return level.release(slot);
        }
        let level = level.clone();
        skiff_watching::task::spawn(async move {
            tokio::time::sleep(lingers).await;
            level.release(slot);
        });
    }
}
