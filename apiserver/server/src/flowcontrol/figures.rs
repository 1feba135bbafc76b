//! What is counted of the requests of one FlowSchema on its level.
//!
//! Invariant: all of it is guarded by the level's own lock, so that counting costs no request another one.
//! Follows the buckets of `pkg/util/flowcontrol/metrics/metrics.go` of `k8s.io/apiserver`.

use std::{sync::Arc, time::Duration};

use super::{queues::Why, rules::By};

/// Counts of values by the least bound that they are not above; those above all of them are in the sum and the count alone.
#[derive(Clone, Debug)]
pub struct Histogram<const N: usize> {
    pub counts: [u64; N],
    pub sum: f64,
    pub count: u64,
}

pub const SECONDS: [f64; 13] = [
    0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0,
];
pub const LENGTHS: [f64; 8] = [0.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1000.0];
pub const SEATS: [f64; 8] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 100.0];
pub const WATCHERS: [f64; 6] = [0.0, 1.0, 10.0, 100.0, 1000.0, 10_000.0];

impl<const N: usize> Default for Histogram<N> {
    fn default() -> Histogram<N> {
        Histogram {
            counts: [0; N],
            sum: 0.0,
            count: 0,
        }
    }
}

impl<const N: usize> Histogram<N> {
    pub fn see(&mut self, bounds: &[f64; N], value: f64) {
        self.sum += value;
        self.count += 1;
        if let Some(at) = bounds.iter().position(|bound| value <= *bound) {
            self.counts[at] += 1;
        }
    }
}

#[derive(Clone, Debug)]
pub struct Figures {
    pub schema: Arc<str>,
    pub by: By,
    pub dispatched: u64,
    pub refused: [u64; 3],
    /// How long who was dispatched had waited, and who was not.
    pub waited: Histogram<13>,
    pub waited_in_vain: Histogram<13>,
    /// How long answers took, and watches until they had told what there was.
    pub answered: Histogram<13>,
    pub watched: Histogram<13>,
    /// The length of the queue that one came to, it included.
    pub lengths: Histogram<8>,
    pub seats: Histogram<8>,
    /// Watchers of what was written.
    pub watchers: Histogram<6>,
}

impl Figures {
    pub fn new(schema: &str, by: By) -> Figures {
        Figures {
            schema: schema.into(),
            by,
            dispatched: 0,
            refused: [0; 3],
            waited: Histogram::default(),
            waited_in_vain: Histogram::default(),
            answered: Histogram::default(),
            watched: Histogram::default(),
            lengths: Histogram::default(),
            seats: Histogram::default(),
            watchers: Histogram::default(),
        }
    }

    pub fn refuse(&mut self, why: Why, waited: Duration) {
        self.refused[why as usize] += 1;
        self.waited_in_vain.see(&SECONDS, waited.as_secs_f64());
    }
}

impl Why {
    pub const ALL: [Why; 3] = [Why::ConcurrencyLimit, Why::QueueFull, Why::TimeOut];

    pub fn word(self) -> &'static str {
        match self {
            Why::ConcurrencyLimit => "concurrency-limit",
            Why::QueueFull => "queue-full",
            Why::TimeOut => "time-out",
        }
    }
}
