//! Fair queuing in simulated time: nothing here waits.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    time::Duration,
};

use super::*;

/// A flow of a simulation: so many clients, each of which asks again when it has been answered and has rested.
#[derive(Clone, Copy)]
struct Flow {
    clients: usize,
    work: Work,
    takes: u64,
    rests: u64,
}

/// What became of a flow.
#[derive(Clone, Copy, Debug, Default)]
struct Outcome {
    answered: usize,
    refused: usize,
    /// The longest that one waited, in milliseconds.
    waited: u128,
    seat_milliseconds: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Comes(usize),
    Ends(usize),
    Lingered(usize),
}

struct Simulation {
    queues: Queues<(usize, Instant)>,
    start: Instant,
    /// By milliseconds since the start.
    ahead: BinaryHeap<Reverse<(u64, u64, What)>>,
    slots: BTreeMap<usize, Slot>,
    flows: Vec<Flow>,
    outcomes: Vec<Outcome>,
    number: u64,
}

const FAIR: Mode = Mode::Queue(Queuing {
    queues: 64,
    hand: 6,
    length: 50,
});

/// The same where each flow has one queue, so that what queues get is what flows get.
const A_QUEUE_EACH: Mode = Mode::Queue(Queuing {
    queues: 64,
    hand: 1,
    length: 50,
});

impl Simulation {
    fn run(mode: Mode, limit: usize, flows: &[Flow], milliseconds: u64) -> Vec<Outcome> {
        let start = Instant::now();
        let mut simulation = Simulation {
            queues: Queues::new(start, mode, limit),
            start,
            ahead: BinaryHeap::new(),
            slots: BTreeMap::new(),
            flows: flows.to_vec(),
            outcomes: vec![Outcome::default(); flows.len()],
            number: 0,
        };
        for (flow, of) in flows.iter().enumerate() {
            for client in 0..of.clients {
                simulation.at(client as u64 % 7, What::Comes(flow));
            }
        }
        while let Some(Reverse((now, _, what))) = simulation.ahead.pop() {
            if now >= milliseconds {
                break;
            }
            simulation.step(now, what);
            assert!(simulation.queues.seats_in_use <= limit.max(1));
        }
        simulation.outcomes
    }

    fn at(&mut self, when: u64, what: What) {
        self.number += 1;
        self.ahead.push(Reverse((when, self.number, what)));
    }

    fn step(&mut self, ms: u64, what: What) {
        let now = self.start + Duration::from_millis(ms);
        match what {
            What::Comes(flow) => {
                let hash = (flow as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                let work = self.flows[flow].work;
                match self.queues.arrive(now, hash, work, (flow, now)) {
                    Arrival::Dispatched(slot) => self.begin(ms, now, slot),
                    Arrival::Waits(..) => {}
                    Arrival::Refused(_) => {
                        self.outcomes[flow].refused += 1;
                        self.at(ms + 100, What::Comes(flow));
                    }
                }
            }
            What::Ends(slot) => {
                let held = Slot(slot);
                let ((flow, _), work, begun) = self.queues.finish(now, &held).unwrap();
                let of = &mut self.outcomes[flow];
                of.answered += 1;
                let seats = work.width() as u64;
                of.seat_milliseconds += seats * now.duration_since(begun).as_millis() as u64;
                let lingers = work.lingers.as_millis() as u64;
                self.at(ms + lingers, What::Lingered(slot));
                self.at(ms + self.flows[flow].rests, What::Comes(flow));
            }
            What::Lingered(slot) => {
                let slot = self.slots.remove(&slot).unwrap();
                self.queues.release(now, slot);
            }
        }
        while let Some(slot) = self.queues.next(now) {
            self.begin(ms, now, slot);
        }
    }

    fn begin(&mut self, ms: u64, now: Instant, slot: Slot) {
        let (flow, came) = *self.queues.request(&slot).unwrap();
        let waited = now.duration_since(came).as_millis();
        let of = &mut self.outcomes[flow];
        of.waited = of.waited.max(waited);
        self.at(ms + self.flows[flow].takes, What::Ends(slot.0));
        self.slots.insert(slot.0, slot);
    }
}

fn flow(clients: usize, takes: u64) -> Flow {
    Flow {
        clients,
        work: Work::ONE,
        takes,
        rests: 0,
    }
}

#[test]
fn flows_that_want_everything_share_it() {
    let outcomes = Simulation::run(A_QUEUE_EACH, 10, &[flow(20, 10), flow(20, 10)], 10_000);
    for of in &outcomes {
        assert!((4_700..5_300).contains(&of.answered), "{outcomes:?}");
        assert_eq!(of.refused, 0);
    }
    // the slower one gets its seats, not more answers
    let outcomes = Simulation::run(A_QUEUE_EACH, 10, &[flow(20, 10), flow(20, 40)], 20_000);
    let [quick, slow] = [0, 1].map(|at: usize| outcomes[at].seat_milliseconds);
    let ratio = quick as f64 / slow as f64;
    assert!((0.9..1.1).contains(&ratio), "{ratio} {outcomes:?}");
    // nor does a wide one
    let wide = Flow {
        work: Work::seats(5),
        ..flow(20, 10)
    };
    let outcomes = Simulation::run(A_QUEUE_EACH, 10, &[flow(20, 10), wide], 20_000);
    let [narrow, wide] = [0, 1].map(|at: usize| outcomes[at].seat_milliseconds);
    let ratio = narrow as f64 / wide as f64;
    assert!((0.8..1.25).contains(&ratio), "{ratio} {outcomes:?}");
}

#[test]
fn a_heavy_flow_starves_no_light_one() {
    let light = Flow {
        rests: 50,
        ..flow(1, 10)
    };
    let outcomes = Simulation::run(FAIR, 10, &[flow(400, 100), light], 60_000);
    let [heavy, light] = [&outcomes[0], &outcomes[1]];
    assert!(heavy.refused > 0, "its queues are full: {heavy:?}");
    assert_eq!(light.refused, 0);
    // what the other's requests take is known when they end: for so long it may wait, and never behind all of them
    assert!(light.waited <= 300, "{light:?}");
    assert!(light.answered > 400, "{light:?}");
    // without fairness it would wait behind all of them, or be refused like them
    let crowd = Simulation::run(Mode::Reject, 10, &[flow(400, 100), flow(1, 10)], 60_000);
    assert!(crowd[1].refused > crowd[1].answered, "{:?}", crowd[1]);
}

#[test]
fn what_was_not_used_is_not_saved_up() {
    let start = Instant::now();
    let later = |ms| start + Duration::from_millis(ms);
    let mut queues: Queues<u64> = Queues::new(start, A_QUEUE_EACH, 1);
    let mut arrive = |now, flow: u64| queues.arrive(now, flow, Work::ONE, flow);
    let Arrival::Dispatched(first) = arrive(start, 3) else {
        panic!("there is a seat");
    };
    // virtual time goes on while a third one is served; then two ask that have rested
    for _ in 0..4 {
        assert!(matches!(arrive(later(5_000), 1), Arrival::Waits(..)));
    }
    for _ in 0..4 {
        assert!(matches!(arrive(later(5_001), 2), Arrival::Waits(..)));
    }
    queues.finish(later(5_002), &first).unwrap();
    queues.release(later(5_002), first);
    let mut order = Vec::new();
    for ms in (5_002..).step_by(3).take(8) {
        let slot = queues.next(later(ms)).unwrap();
        order.push(queues.finish(later(ms + 3), &slot).unwrap().0);
        queues.release(later(ms + 3), slot);
    }
    let ones_early = order[..4].iter().filter(|flow| **flow == 1).count();
    assert!((1..=3).contains(&ones_early), "{order:?}");
    assert!(queues.is_idle() && queues.active == 0 && queues.asked == 0);
}

#[test]
fn seats_are_taken_for_as_long_as_a_request_lingers() {
    let start = Instant::now();
    let later = |ms| start + Duration::from_millis(ms);
    let mut queues: Queues<u8> = Queues::new(start, FAIR, 4);
    let wide = Work {
        initial: 1,
        last: 8,
        lingers: Duration::from_millis(5),
    };
    let Arrival::Dispatched(slot) = queues.arrive(start, 1, wide, 1) else {
        panic!("what is too wide has it all");
    };
    assert_eq!(queues.seats_in_use, 4);
    let Arrival::Waits(ticket, 1) = queues.arrive(start, 1, Work::ONE, 2) else {
        panic!("it does not fit");
    };
    let (request, work, _) = queues.finish(later(1), &slot).unwrap();
    assert_eq!((request, work.lingers.as_millis()), (1, 10));
    assert!(queues.finish(later(1), &slot).is_none());
    assert_eq!(queues.next(later(2)), None);
    queues.release(later(11), slot);
    let second = queues.next(later(11)).unwrap();
    assert!(queues.give_up(later(11), &ticket).is_none());
    assert_eq!(queues.finish(later(12), &second).unwrap().0, 2);
    queues.release(later(12), second);
    assert!(queues.is_idle() && queues.seats_in_use == 0 && queues.asked == 0);
}

#[test]
fn who_gives_up_leaves_nothing_behind() {
    let start = Instant::now();
    let mut queues: Queues<u8> = Queues::new(start, FAIR, 1);
    let Arrival::Dispatched(slot) = queues.arrive(start, 1, Work::ONE, 0) else {
        panic!("there is a seat");
    };
    let tickets: Vec<Ticket> = (1..=5)
        .filter_map(|n| match queues.arrive(start, 1, Work::ONE, n) {
            Arrival::Waits(ticket, _) => Some(ticket),
            _ => None,
        })
        .collect();
    assert_eq!(tickets.len(), 5);
    for (ticket, n) in tickets.iter().zip(1..) {
        assert_eq!(queues.waits(ticket).copied(), Some(n));
        assert_eq!(queues.give_up(start, ticket), Some(n));
        assert_eq!(queues.give_up(start, ticket), None);
    }
    assert_eq!((queues.waiting, queues.seats_waiting), (0, 0));
    queues.finish(start, &slot);
    queues.release(start, slot);
    assert!(queues.active == 0 && queues.asked == 0);
    assert!(
        queues
            .queues
            .iter()
            .all(|queue| queue.work == SeatSeconds::default())
    );
}

#[test]
fn limits_and_modes_may_change() {
    let start = Instant::now();
    let mut queues: Queues<u8> = Queues::new(start, FAIR, 1);
    let arrive = |queues: &mut Queues<u8>| queues.arrive(start, 7, Work::ONE, 0);
    let Arrival::Dispatched(first) = arrive(&mut queues) else {
        panic!("there is a seat");
    };
    assert!(matches!(arrive(&mut queues), Arrival::Waits(..)));
    // who waits is not forgotten when nobody is to wait any more
    queues.configure(start, Mode::Reject, 1);
    assert_eq!(arrive(&mut queues), Arrival::Refused(Why::ConcurrencyLimit));
    assert!(queues.next(start).is_none());
    queues.configure(start, Mode::Reject, 2);
    let second = queues.next(start).unwrap();
    for slot in [first, second] {
        queues.finish(start, &slot);
        queues.release(start, slot);
    }
    assert_eq!((queues.queues.len(), queues.asked), (0, 0));
    queues.configure(start, Mode::Exempt, 0);
    assert!(matches!(arrive(&mut queues), Arrival::Dispatched(_)));
    // a level without seats answers one at a time, or nothing would ever go
    let mut none: Queues<u8> = Queues::new(start, Mode::Reject, 0);
    assert!(matches!(arrive(&mut none), Arrival::Dispatched(_)));
    assert!(matches!(arrive(&mut none), Arrival::Refused(_)));
    // a queue takes so many and no more
    let short = Mode::Queue(Queuing {
        queues: 1,
        hand: 1,
        length: 2,
    });
    let mut queues: Queues<u8> = Queues::new(start, short, 1);
    let said: Vec<bool> = (0..4)
        .map(|_| matches!(arrive(&mut queues), Arrival::Refused(Why::QueueFull)))
        .collect();
    assert_eq!(said, [false, false, false, true]);
}
