//! Fair queuing: the requests of one priority level, in queues that take turns by virtual time.
//!
//! The level's seats are shared out equally among the queues that have requests; `R` is how many seat-seconds each such queue was due since the
//! start, and a queue's `next` the reading of `R` at which its next request would begin if all were served at once, each in its share. The request
//! that would be through first is dispatched next. A queue that could not use its share does not save it up.
//!
//! Invariant: whenever requests wait, the one whose turn it is has not the seats that it needs. Nothing here asks for the time, waits or locks.
//! Follows `pkg/util/flowcontrol/fairqueuing/queueset` of `k8s.io/apiserver` and its `doc.go`.

use std::{collections::VecDeque, time::Instant};

use super::{
    demand::{Demand, Seen},
    shuffle::{LARGEST_HAND, deal},
    work::{GUESSED, SeatSeconds, Work},
};

/// How requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Queuing {
    pub queues: usize,
    pub hand: usize,
    /// How many may wait in one queue.
    pub length: usize,
}

/// What becomes of those that come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each is dispatched at once.
    Exempt,
    /// Who finds no seats is refused.
    Reject,
    Queue(Queuing),
}

/// Why a request is refused; the words are those of the metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    ConcurrencyLimit,
    QueueFull,
    TimeOut,
}

/// A request that has seats.
#[derive(Debug, PartialEq, Eq)]
pub struct Slot(usize);

/// A request that waits.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    queue: usize,
    number: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Arrival {
    Dispatched(Slot),
    /// As the nth in its queue. [`Queues::next`] is to be asked now: its turn may have come.
    Waits(Ticket, usize),
    Refused(Why),
}

struct Waiting<P> {
    number: u64,
    /// `R` when it came.
    arrived: SeatSeconds,
    work: Work,
    request: P,
}

struct Executing<P> {
    queue: Option<usize>,
    started: Instant,
    work: Work,
    /// `None`: it has been answered, and its seats are still taken.
    request: Option<P>,
}

struct Queue<P> {
    waiting: VecDeque<Waiting<P>>,
    /// All work of those that wait.
    work: SeatSeconds,
    executing: usize,
    seats: usize,
    next: SeatSeconds,
}

/// The requests of a level.
pub struct Queues<P> {
    mode: Mode,
    limit: usize,
    /// More than are wanted while the last of them drain.
    queues: Vec<Queue<P>>,
    executing: Vec<Option<Executing<P>>>,
    free: Vec<usize>,
    r: SeatSeconds,
    synced: Instant,
    /// The queue that was dispatched from last.
    robin: usize,
    /// Queues with requests, and the seats that these have or ask for.
    active: usize,
    asked: usize,
    /// Requests that wait, and their seats.
    waiting: usize,
    seats_waiting: usize,
    /// Requests that are being answered, and seats that are taken.
    in_execution: usize,
    seats_in_use: usize,
    arrivals: u64,
    /// How often the one whose turn it was had to wait for more seats than there were.
    pub not_accommodated: u64,
    demand: Demand,
}

impl<P> Queue<P> {
    fn is_active(&self) -> bool {
        self.executing > 0 || !self.waiting.is_empty()
    }

    /// Nothing is dispatched before it came: what a queue did not use is not saved up.
    fn bound(&mut self) {
        if let Some(first) = self.waiting.front() {
            self.next = self.next.max(first.arrived);
        }
    }
}

impl<P> Queues<P> {
    pub fn new(now: Instant, mode: Mode, limit: usize) -> Queues<P> {
        let mut queues = Queues {
            mode,
            limit,
            queues: Vec::new(),
            executing: Vec::new(),
            free: Vec::new(),
            r: SeatSeconds::default(),
            synced: now,
            robin: 0,
            active: 0,
            asked: 0,
            waiting: 0,
            seats_waiting: 0,
            in_execution: 0,
            seats_in_use: 0,
            arrivals: 0,
            not_accommodated: 0,
            demand: Demand::default(),
        };
        queues.configure(now, mode, limit);
        queues
    }

    /// Other rules, or another limit. [`Queues::next`] is to be asked after it.
    pub fn configure(&mut self, now: Instant, mode: Mode, limit: usize) {
        self.sync(now);
        (self.mode, self.limit) = (mode, limit);
        let wanted = self.wanted();
        while self.queues.len() < wanted {
            self.queues.push(Queue {
                waiting: VecDeque::new(),
                work: SeatSeconds::default(),
                executing: 0,
                seats: 0,
                next: SeatSeconds::default(),
            });
        }
        self.trim();
    }

    fn wanted(&self) -> usize {
        match self.mode {
            Mode::Queue(queuing) => queuing.queues.max(1),
            Mode::Exempt | Mode::Reject => 0,
        }
    }

    /// Takes away what is too much and empty; the hands dealt since are of those that stay.
    fn trim(&mut self) {
        let wanted = self.wanted();
        while self.queues.len() > wanted
            && let Some(last) = self.queues.last()
            && !last.is_active()
            && last.seats == 0
        {
            self.queues.pop();
        }
        self.robin = self.robin.min(self.queues.len().saturating_sub(1));
    }

    /// Brings virtual time to `now`: everything has been as it is since it was last brought.
    fn sync(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.synced);
        if passed.is_zero() {
            return;
        }
        self.synced = now;
        self.demand.pass(passed);
        if self.active > 0 {
            let rate = self.asked.min(self.limit) as f64 / self.active as f64;
            self.r += SeatSeconds::rate(rate, passed);
        }
    }

    /// Ends a period of watching what is needed.
    pub fn end_period(&mut self, now: Instant) -> Seen {
        self.sync(now);
        self.demand.end()
    }

    fn note_demand(&mut self) {
        self.demand.set(self.seats_in_use + self.seats_waiting);
    }

    fn fits(&self, seats: usize) -> bool {
        match self.mode {
            Mode::Exempt => true,
            // one that is wider than the level has the level to itself
            _ if seats > self.limit => self.in_execution == 0,
            _ => self.seats_in_use + seats <= self.limit,
        }
    }

    /// A request of the flow that `flow` stands for.
    pub fn arrive(&mut self, now: Instant, flow: u64, work: Work, request: P) -> Arrival {
        self.sync(now);
        let queuing = match self.mode {
            Mode::Exempt => return Arrival::Dispatched(self.begin(now, None, work, request)),
            Mode::Reject if self.fits(work.width()) => {
                return Arrival::Dispatched(self.begin(now, None, work, request));
            }
            Mode::Reject => return Arrival::Refused(Why::ConcurrencyLimit),
            Mode::Queue(queuing) => queuing,
        };
        let at = self.choose(flow, queuing);
        let (r, number) = (self.r, self.arrivals);
        let clear = self.waiting == 0 && self.fits(work.width());
        let work = if clear {
            work.narrowed(self.limit)
        } else {
            work
        };
        let queue = &mut self.queues[at];
        if self.seats_in_use >= self.limit && queue.waiting.len() >= queuing.length {
            return Arrival::Refused(Why::QueueFull);
        }
        if !queue.is_active() {
            self.active += 1;
            queue.next = r;
        }
        self.asked += work.width();
        if clear {
            queue.next = queue.next.max(r);
            self.robin = at;
            return Arrival::Dispatched(self.begin(now, Some(at), work, request));
        }
        queue.waiting.push_back(Waiting {
            number,
            arrived: r,
            work,
            request,
        });
        queue.work += work.total();
        queue.bound();
        let nth = queue.waiting.len();
        self.waiting += 1;
        self.seats_waiting += work.width();
        self.note_demand();
        Arrival::Waits(Ticket { queue: at, number }, nth)
    }

    /// Of the queues in a flow's hand, that with the least to do. Where one looks first goes round, so that hands that overlap are used alike.
    fn choose(&mut self, flow: u64, queuing: Queuing) -> usize {
        let mut cards = [0; LARGEST_HAND];
        let hand = deal(flow, queuing.queues.max(1), queuing.hand.max(1), &mut cards);
        let first = (self.arrivals % hand.len() as u64) as usize;
        self.arrivals += 1;
        if self.waiting == 0 {
            return hand[first];
        }
        let (before, from) = hand.split_at(first);
        let in_turn = from.iter().chain(before).copied();
        in_turn
            .min_by_key(|at| self.queues[*at].work)
            .unwrap_or_default()
    }

    fn begin(&mut self, now: Instant, at: Option<usize>, work: Work, request: P) -> Slot {
        let seats = work.width();
        self.in_execution += 1;
        self.seats_in_use += seats;
        if let Some(at) = at {
            let queue = &mut self.queues[at];
            queue.executing += 1;
            queue.seats += seats;
            queue.next += work.total();
        }
        self.note_demand();
        let executing = Some(Executing {
            queue: at,
            started: now,
            work,
            request: Some(request),
        });
        match self.free.pop() {
            Some(slot) => {
                self.executing[slot] = executing;
                Slot(slot)
            }
            None => {
                self.executing.push(executing);
                Slot(self.executing.len() - 1)
            }
        }
    }

    /// Dispatches the request whose turn it is, if one waits and there are the seats. To be asked until it has none.
    pub fn next(&mut self, now: Instant) -> Option<Slot> {
        if self.waiting == 0 || self.seats_in_use >= self.limit {
            return None;
        }
        self.sync(now);
        let at = self.turn()?;
        let queue = &mut self.queues[at];
        let width = queue.waiting.front()?.work.width();
        if !self.fits(width) {
            self.not_accommodated += 1;
            return None;
        }
        let queue = &mut self.queues[at];
        let Waiting { work, request, .. } = queue.waiting.pop_front()?;
        queue.work -= work.total();
        self.waiting -= 1;
        self.seats_waiting -= width;
        // so the others win when they would be through at the same time
        self.robin = at;
        let work = work.narrowed(self.limit);
        self.asked -= width - work.width();
        let slot = self.begin(now, Some(at), work, request);
        self.queues[at].bound();
        Some(slot)
    }

    /// The queue whose first request would be through first.
    fn turn(&self) -> Option<usize> {
        let count = self.queues.len();
        let in_turn = (1..=count).map(|step| (self.robin + step) % count);
        let with_end = in_turn.filter_map(|at| {
            let queue = &self.queues[at];
            let end = queue.next + queue.waiting.front()?.work.total();
            Some((end, at))
        });
        with_end.min_by_key(|(end, _)| *end).map(|(_, at)| at)
    }

    /// A request waits no more; `None`: it has been dispatched. [`Queues::next`] is to be asked after it.
    pub fn give_up(&mut self, now: Instant, ticket: &Ticket) -> Option<P> {
        self.sync(now);
        let queue = self.queues.get_mut(ticket.queue)?;
        let number = |waiting: &Waiting<P>| waiting.number;
        let at = queue.waiting.binary_search_by_key(&ticket.number, number);
        let Waiting { work, request, .. } = queue.waiting.remove(at.ok()?)?;
        queue.work -= work.total();
        queue.bound();
        if !queue.is_active() {
            self.active -= 1;
        }
        self.waiting -= 1;
        self.seats_waiting -= work.width();
        self.asked -= work.width();
        self.note_demand();
        self.trim();
        Some(request)
    }

    /// A request has been answered; its seats are taken until [`Queues::release`].
    pub fn finish(&mut self, now: Instant, slot: &Slot) -> Option<(P, Work, Instant)> {
        self.sync(now);
        let executing = self.executing.get_mut(slot.0)?.as_mut()?;
        let request = executing.request.take()?;
        let (work, started) = (executing.work, executing.started);
        self.in_execution -= 1;
        if let Some(at) = executing.queue {
            let queue = &mut self.queues[at];
            queue.executing -= 1;
            // it was taken to last as guessed
            queue.next -= SeatSeconds::of(work.initial, GUESSED);
            queue.next += SeatSeconds::of(work.initial, now.saturating_duration_since(started));
            queue.bound();
            if !queue.is_active() {
                self.active -= 1;
            }
        }
        Some((request, work, started))
    }

    /// The seats of a request that has been answered are free. [`Queues::next`] is to be asked after it.
    pub fn release(&mut self, now: Instant, slot: Slot) {
        self.sync(now);
        let Some(Executing { queue, work, .. }) =
            self.executing.get_mut(slot.0).and_then(Option::take)
        else {
            return;
        };
        self.free.push(slot.0);
        self.seats_in_use -= work.width();
        if let Some(at) = queue {
            self.queues[at].seats -= work.width();
            self.asked -= work.width();
            if self.queues.len() > self.wanted() {
                self.trim();
            }
        }
        self.note_demand();
    }

    /// A request that is being answered, to whoever is to know it.
    pub fn request(&mut self, slot: &Slot) -> Option<&mut P> {
        self.executing.get_mut(slot.0)?.as_mut()?.request.as_mut()
    }

    /// A request that waits.
    pub fn waits(&mut self, ticket: &Ticket) -> Option<&mut P> {
        let queue = self.queues.get_mut(ticket.queue)?;
        let at = queue
            .waiting
            .binary_search_by_key(&ticket.number, |waiting| waiting.number);
        Some(&mut queue.waiting.get_mut(at.ok()?)?.request)
    }

    /// What was seen until the last period ended.
    pub fn seen(&self) -> Seen {
        self.demand.seen
    }

    pub fn r(&self) -> SeatSeconds {
        self.r
    }

    pub fn is_exempt(&self) -> bool {
        self.mode == Mode::Exempt
    }

    pub fn is_idle(&self) -> bool {
        self.waiting == 0 && self.in_execution == 0
    }

    pub fn waiting(&self) -> usize {
        self.waiting
    }

    pub fn in_execution(&self) -> usize {
        self.in_execution
    }

    /// What is in each queue.
    pub fn view(&self) -> impl Iterator<Item = View<'_, P>> {
        self.queues.iter().enumerate().map(|(at, queue)| View {
            waiting: queue
                .waiting
                .iter()
                .map(|waiting| (&waiting.request, waiting.work))
                .collect(),
            executing: self.view_executing(Some(at)),
            seats: queue.seats,
            next: queue.next,
            work: queue.work,
        })
    }

    /// Requests that are being answered and went through this queue, or none.
    pub fn view_executing(&self, queue: Option<usize>) -> Vec<(&P, Work, Instant)> {
        let all = self.executing.iter().flatten();
        all.filter(|executing| executing.queue == queue)
            .filter_map(|of| Some((of.request.as_ref()?, of.work, of.started)))
            .collect()
    }

    /// All that are being answered, and those whose seats are still taken.
    pub fn all_executing(&self) -> impl Iterator<Item = (Option<&P>, Work)> {
        let all = self.executing.iter().flatten();
        all.map(|executing| (executing.request.as_ref(), executing.work))
    }

    pub fn all_waiting(&self) -> impl Iterator<Item = (&P, Work)> {
        let queues = self.queues.iter().flat_map(|queue| &queue.waiting);
        queues.map(|waiting| (&waiting.request, waiting.work))
    }
}

/// A queue, to be shown.
pub struct View<'q, P> {
    pub waiting: Vec<(&'q P, Work)>,
    pub executing: Vec<(&'q P, Work, Instant)>,
    pub seats: usize,
    pub next: SeatSeconds,
    pub work: SeatSeconds,
}

#[cfg(test)]
mod tests;
