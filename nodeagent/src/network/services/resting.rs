//! What is no longer used, and stays in the kernel for a moment all the same.
//!
//! Invariant: what is used again rests no more; what is due is given out once.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// How long that is.
pub const REST: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub struct Resting<T>(BTreeMap<T, Instant>);

impl<T> Default for Resting<T> {
    fn default() -> Self {
        Resting(BTreeMap::new())
    }
}

impl<T: Ord> Resting<T> {
    /// Nobody uses it since `now`.
    pub fn rest(&mut self, what: T, now: Instant) {
        self.0.insert(what, now);
    }

    /// Somebody uses it; says whether it has rested until then.
    pub fn wake(&mut self, what: &T) -> bool {
        self.0.remove(what).is_some()
    }

    /// What has rested long enough, in order.
    pub fn due(&mut self, now: Instant) -> Vec<T> {
        let all = std::mem::take(&mut self.0).into_iter();
        let (due, rest): (BTreeMap<_, _>, _) =
            all.partition(|(_, since)| now.duration_since(*since) >= REST);
        self.0 = rest;
        due.into_keys().collect()
    }

    /// When the next is due.
    pub fn next(&self) -> Option<Instant> {
        self.0.values().min().map(|since| *since + REST)
    }
}
