//! What is counted of work queues, and how Prometheus reads it.
//!
//! Invariant: queues of one name are told of together, those of another cluster in the same process apart; one that is gone is told of no more.
//! Follows names, bounds and labels of `staging/src/k8s.io/component-base/metrics/prometheus/workqueue/metrics.go`, and `client-go/util/workqueue/metrics.go`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

use crate::tally::{Counter, Histogram, Part, family};

/// Upper ends of times, in seconds: ten nanoseconds to ten seconds.
const BOUNDS: &[f64] = &[1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1.0, 10.0];

/// Since the queue was made.
pub struct Counts {
    pub adds: Counter,
    pub retries: Counter,
    /// How long keys waited until a worker took them.
    pub waited: Histogram,
    /// How long workers had them.
    pub worked: Histogram,
}

impl Default for Counts {
    fn default() -> Self {
        Counts {
            adds: Counter::default(),
            retries: Counter::default(),
            waited: Histogram::new(BOUNDS),
            worked: Histogram::new(BOUNDS),
        }
    }
}

/// What is the case now.
#[derive(Clone, Copy, Default)]
pub struct Present {
    pub waiting: usize,
    /// What workers have taken longer than the others with what they are at: all of it, and the longest.
    pub unfinished: Duration,
    pub longest: Duration,
}

/// A queue of any keys.
pub trait Counted: Send + Sync {
    fn name(&self) -> &'static str;
    fn counts(&self) -> &Counts;
    fn present(&self) -> Present;
}

/// Queues that are told of together. Clones share them.
#[derive(Clone, Default)]
pub struct Queues(Arc<Mutex<Vec<Weak<dyn Counted>>>>);

impl Queues {
    fn all(&self) -> MutexGuard<'_, Vec<Weak<dyn Counted>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn register(&self, queue: Weak<dyn Counted>) {
        let mut queues = self.all();
        queues.retain(|queue| queue.strong_count() > 0);
        queues.push(queue);
    }
}

/// Queues of one name.
#[derive(Default)]
struct Together {
    counts: Counts,
    present: Present,
}

impl Together {
    fn add(&mut self, queue: &dyn Counted) {
        let (counts, now) = (queue.counts(), queue.present());
        self.counts.adds.add(counts.adds.get());
        self.counts.retries.add(counts.retries.get());
        self.counts.waited.add(&counts.waited);
        self.counts.worked.add(&counts.worked);
        self.present.waiting += now.waiting;
        self.present.unfinished += now.unfinished;
        self.present.longest = self.present.longest.max(now.longest);
    }
}

/// One metric: name, type, what it is, and its lines for one name.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    fn(&Together, &str, &str, &mut String),
);

fn line(name: &str, labels: &str, value: impl std::fmt::Display, text: &mut String) {
    *text += &format!("{name}{{{labels}}} {value}\n");
}

const ROWS: [Row; 7] = [
    (
        "workqueue_adds_total",
        "counter",
        "Keys that were put into a work queue.",
        |of, name, labels, text| line(name, labels, of.counts.adds.get(), text),
    ),
    (
        "workqueue_depth",
        "gauge",
        "Keys that wait in a work queue for a worker.",
        |of, name, labels, text| line(name, labels, of.present.waiting, text),
    ),
    (
        "workqueue_longest_running_processor_seconds",
        "gauge",
        "Seconds since the worker began that is at its key for the longest.",
        |of, name, labels, text| line(name, labels, of.present.longest.as_secs_f64(), text),
    ),
    (
        "workqueue_queue_duration_seconds",
        "histogram",
        "Seconds that keys waited in a work queue.",
        |of, name, labels, text| of.counts.waited.text(name, labels, text),
    ),
    (
        "workqueue_retries_total",
        "counter",
        "Keys that were put back after a failure.",
        |of, name, labels, text| line(name, labels, of.counts.retries.get(), text),
    ),
    (
        "workqueue_unfinished_work_seconds",
        "gauge",
        "Seconds of work on keys that are not done with yet.",
        |of, name, labels, text| line(name, labels, of.present.unfinished.as_secs_f64(), text),
    ),
    (
        "workqueue_work_duration_seconds",
        "histogram",
        "Seconds that workers needed for a key.",
        |of, name, labels, text| of.counts.worked.text(name, labels, text),
    ),
];

impl Part for Queues {
    fn tell(&self, text: &mut String) {
        let queues: Vec<Arc<dyn Counted>> = self.all().iter().filter_map(Weak::upgrade).collect();
        let mut named: BTreeMap<&str, Together> = BTreeMap::new();
        for queue in &queues {
            named.entry(queue.name()).or_default().add(&**queue);
        }
        for (metric, kind, help, lines) in ROWS {
            family(text, metric, kind, help);
            for (name, of) in &named {
                lines(of, metric, &format!("name=\"{name}\""), text);
            }
        }
    }
}
