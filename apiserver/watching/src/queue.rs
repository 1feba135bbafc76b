//! The work queue: what is to be reconciled, each key at most once at a time.
//!
//! Invariant: a key is handed to one worker at a time; a key that is added while it is being worked on is handed out once more
//! afterwards; failures of a key are retried later and later (5 ms doubling to 1,000 s). No timer task: workers sleep until the
//! next delayed key is due. Follows k8s.io/client-go/util/workqueue.

mod counts;

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, HashSet, VecDeque},
    fmt::Display,
    hash::Hash,
    sync::{Arc, Mutex, Weak},
    time::Duration,
};

use jiff::Timestamp;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use self::counts::{Counted, Counts, Present};
use crate::clock::{Clock, after, since};
use crate::sweep::Sweep;

pub use self::counts::Queues;

/// Past so many remembered rests, those that are over are forgotten.
const MOST_RESTING: usize = 256;

/// How long it is waited after a failure: twice as long after each further one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    /// After the first.
    pub first: Duration,
    /// At most.
    pub longest: Duration,
}

impl Retry {
    /// Where nobody says another.
    pub const DEFAULT: Retry = Retry {
        first: Duration::from_millis(5),
        longest: Duration::from_secs(1000),
    };

    /// With this one after the first failure.
    pub const fn from(first: Duration) -> Retry {
        Retry {
            first,
            ..Retry::DEFAULT
        }
    }
}

/// A key that can be queued.
pub trait QueueKey: Clone + Eq + Ord + Hash + Display + Send + Sync + 'static {}
impl<K: Clone + Eq + Ord + Hash + Display + Send + Sync + 'static> QueueKey for K {}

struct State<K> {
    /// With when they came.
    ready: VecDeque<(K, Timestamp)>,
    dirty: HashSet<K>,
    /// With since when.
    processing: HashMap<K, Timestamp>,
    delayed: BinaryHeap<Reverse<(Timestamp, K)>>,
    due: HashMap<K, Timestamp>,
    failures: HashMap<K, u32>,
    resting: HashMap<K, Timestamp>,
    sweep: Sweep,
}

/// A de-duplicating queue with delays and per-key back-off.
pub struct Queue<K> {
    state: Mutex<State<K>>,
    wake: Notify,
    clock: Clock,
    name: &'static str,
    counts: Counts,
}

impl<K: QueueKey> Queue<K> {
    /// An empty queue, whose metrics bear a name and are told among those of `queues`.
    pub fn new(name: &'static str, clock: Clock, queues: &Queues) -> Arc<Self> {
        let state = State {
            ready: VecDeque::new(),
            dirty: HashSet::new(),
            processing: HashMap::new(),
            delayed: BinaryHeap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            resting: HashMap::new(),
            sweep: Sweep::new(MOST_RESTING),
        };
        let queue = Arc::new(Self {
            state: Mutex::new(state),
            wake: Notify::new(),
            clock,
            name,
            counts: Counts::default(),
        });
        let counted: Weak<dyn Counted> = Arc::<Self>::downgrade(&queue);
        queues.register(counted);
        queue
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State<K>> {
        self.state
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Asks for `key` to be worked on as soon as a worker is free.
    pub fn add(&self, key: K) {
        let mut state = self.locked();
        if let Some(until) = state.resting.get(&key).copied() {
            if until > self.clock.now() {
                drop(state);
                return self.add_at(key, until);
            }
            state.resting.remove(&key);
        }
        if state.push(key, self.clock.now(), &self.counts) {
            drop(state);
            self.wake.notify_one();
        }
    }

    /// Asks for `key` after `delay`; an earlier wish for the same key wins.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.add_at(key, after(self.clock.now(), delay));
    }

    fn add_at(&self, key: K, at: Timestamp) {
        let mut state = self.locked();
        if state.due.get(&key).is_some_and(|&earlier| earlier <= at) {
            return;
        }
        state.due.insert(key.clone(), at);
        state.delayed.push(Reverse((at, key)));
        drop(state);
        self.wake.notify_one();
    }

    /// Asks for `key` again after its own growing delay.
    pub fn add_rate_limited(&self, key: K, retry: Retry) {
        self.counts.retries.add(1);
        let delay = {
            let mut state = self.locked();
            let failures = state.failures.entry(key.clone()).or_insert(0);
            let delay = retry
                .first
                .saturating_mul(1u32.checked_shl(*failures).unwrap_or(u32::MAX))
                .min(retry.longest);
            *failures = (*failures + 1).min(30);
            delay
        };
        self.add_after(key, delay);
    }

    /// How often `key` has failed in a row.
    pub fn failures(&self, key: &K) -> u32 {
        self.locked().failures.get(key).copied().unwrap_or(0)
    }

    /// `key` went well: its next failure waits the shortest time again.
    pub fn forget(&self, key: &K) {
        self.locked().failures.remove(key);
    }

    /// The next key; `None` when `stop` was called for. Every key got must be given back with [`Queue::done`].
    pub async fn get(&self, stop: &CancellationToken) -> Option<K> {
        loop {
            let next = {
                let mut state = self.locked();
                let now = self.clock.now();
                state.move_due(now, &self.counts);
                match state.ready.pop_front() {
                    Some((key, began)) => {
                        self.counts.waited.observe(since(now, began).as_secs_f64());
                        state.dirty.remove(&key);
                        state.processing.insert(key.clone(), now);
                        if !state.ready.is_empty() {
                            self.wake.notify_one();
                        }
                        return Some(key);
                    }
                    None => state.delayed.peek().map(|Reverse((at, _))| *at),
                }
            };
            let timer = async {
                match next {
                    Some(at) => self.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = stop.cancelled() => return None,
                () = self.wake.notified() => {}
                () = timer => {}
            }
        }
    }

    /// The worker is through with `key`. If it was or is added meanwhile it is handed out again, but not before `rest` is over: a worker
    /// whose work grows with the number of objects says so, and thereby takes many changes at once.
    pub fn done(&self, key: &K, rest: Duration) {
        let mut state = self.locked();
        let now = self.clock.now();
        if let Some(began) = state.processing.remove(key) {
            self.counts.worked.observe(since(now, began).as_secs_f64());
        }
        let again = state.dirty.contains(key);
        if rest.is_zero() {
            if again {
                state.ready.push_back((key.clone(), now));
                drop(state);
                self.wake.notify_one();
            }
            return;
        }
        let until = after(now, rest);
        if state.sweep.is_due(state.resting.len()) {
            state.resting.retain(|_, at| *at > now);
            let left = state.resting.len();
            state.sweep.done(left);
        }
        state.resting.insert(key.clone(), until);
        if again {
            state.dirty.remove(key);
            drop(state);
            self.add_at(key.clone(), until);
        }
    }

    /// How many keys wait to be worked on at once, without the delayed ones.
    pub fn len(&self) -> usize {
        self.locked().ready.len()
    }

    /// Whether nothing is ready.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: QueueKey> Counted for Queue<K> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn counts(&self) -> &Counts {
        &self.counts
    }

    fn present(&self) -> Present {
        let (state, now) = (self.locked(), self.clock.now());
        let times = state.processing.values().map(|began| since(now, *began));
        let longest = times.clone().max().unwrap_or_default();
        Present {
            waiting: state.ready.len(),
            unfinished: times.sum(),
            longest,
        }
    }
}

impl<K: QueueKey> State<K> {
    /// Marks `key` dirty; true when a worker should be woken for it.
    fn push(&mut self, key: K, now: Timestamp, counts: &Counts) -> bool {
        if !self.dirty.insert(key.clone()) {
            return false;
        }
        counts.adds.add(1);
        if self.processing.contains_key(&key) {
            return false;
        }
        self.ready.push_back((key, now));
        true
    }

    fn move_due(&mut self, now: Timestamp, counts: &Counts) {
        while let Some(Reverse((at, _))) = self.delayed.peek() {
            if *at > now {
                break;
            }
            let Some(Reverse((at, key))) = self.delayed.pop() else {
                break;
            };
            if self.due.get(&key) == Some(&at) {
                self.due.remove(&key);
                self.push(key, now, counts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tally::Part;

    fn queue() -> Arc<Queue<String>> {
        Queue::new("tried", Clock::system(), &Queues::default())
    }

    #[tokio::test]
    async fn what_waits_and_what_is_worked_on_is_told() {
        let (queues, others) = (Queues::default(), Queues::default());
        let (queue, stop) = (
            Queue::<String>::new("told", Clock::system(), &queues),
            CancellationToken::new(),
        );
        let _elsewhere = Queue::<String>::new("told", Clock::system(), &others);
        let told_by = |queues: &Queues, name: &str| {
            let mut text = String::new();
            queues.tell(&mut text);
            let name = format!("workqueue_{name}{{name=\"told\"}} ");
            let line = text.lines().find_map(|line| line.strip_prefix(&name));
            line.map(|value| value.parse::<f64>().unwrap())
        };
        let told = |name: &str| told_by(&queues, name);
        for key in ["a", "b", "a"] {
            queue.add(key.to_string());
        }
        assert_eq!((told("adds_total"), told("depth")), (Some(2.0), Some(2.0)));
        let got = queue.get(&stop).await.unwrap();
        queue.add(got.clone());
        assert_eq!((told("adds_total"), told("depth")), (Some(3.0), Some(1.0)));
        assert!(told("unfinished_work_seconds").unwrap() > 0.0);
        queue.done(&got, Duration::ZERO);
        queue.add_rate_limited(got, Retry::DEFAULT);
        assert_eq!(told("retries_total"), Some(1.0));
        assert_eq!(told("queue_duration_seconds_count"), Some(1.0));
        assert_eq!(told("work_duration_seconds_count"), Some(1.0));
        assert_eq!(told("longest_running_processor_seconds"), Some(0.0));
        assert_eq!(
            told_by(&others, "adds_total"),
            Some(0.0),
            "of another cluster"
        );
        drop(queue);
        assert_eq!(told("depth"), None);
    }

    #[tokio::test]
    async fn what_failed_waits_as_long_as_is_said() {
        let queue = queue();
        let retry = Retry {
            first: Duration::from_secs(60),
            longest: Duration::from_secs(90),
        };
        for seconds in [60, 90, 90] {
            let before = queue.clock.now();
            queue.add_rate_limited("a".into(), retry);
            let due = queue.locked().due.remove("a").unwrap();
            let (least, most) = (
                after(before, Duration::from_secs(seconds)),
                after(queue.clock.now(), Duration::from_secs(seconds)),
            );
            assert!(least <= due && due <= most, "{seconds}");
        }
    }

    #[tokio::test]
    async fn a_key_is_worked_on_once_at_a_time_and_again_when_added_meanwhile() {
        let (queue, stop) = (queue(), CancellationToken::new());
        queue.add("a".into());
        queue.add("a".into());
        let got = queue.get(&stop).await.unwrap();
        assert_eq!((got.as_str(), queue.len()), ("a", 0));
        queue.add("a".into());
        assert_eq!(queue.len(), 0, "not handed out while it is being worked on");
        queue.done(&got, Duration::ZERO);
        assert_eq!(queue.get(&stop).await.as_deref(), Some("a"));
    }

    #[tokio::test]
    async fn the_earlier_of_two_delays_wins_and_failures_grow() {
        let (queue, stop) = (queue(), CancellationToken::new());
        queue.add_after("late".into(), Duration::from_secs(3600));
        queue.add_after("late".into(), Duration::from_millis(1));
        assert_eq!(queue.get(&stop).await.as_deref(), Some("late"));
        for expected in 1..4 {
            queue.add_rate_limited("bad".into(), Retry::DEFAULT);
            assert_eq!(queue.failures(&"bad".to_string()), expected);
        }
        queue.forget(&"bad".to_string());
        assert_eq!(queue.failures(&"bad".to_string()), 0);
    }

    #[tokio::test]
    async fn stop_ends_the_waiting() {
        let (queue, stop) = (queue(), CancellationToken::new());
        stop.cancel();
        assert_eq!(queue.get(&stop).await, None);
    }
}
