//! Back-off that doubles: for containers that crash and for images that cannot be pulled.
//!
//! Invariant: a delay never exceeds `max`, and a key that stayed quiet for twice `max` starts anew.
//! Follows `staging/src/k8s.io/client-go/util/flowcontrol/backoff.go`.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use crate::time;

/// What a back-off does: the first delay and the longest.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub initial: Duration,
    pub max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            initial: Duration::from_secs(10),
            max: Duration::from_secs(300),
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    delay: Duration,
    updated: Timestamp,
}

/// The delays of a set of keys.
#[derive(Debug, Default)]
pub struct Backoff {
    limits: Limits,
    entries: HashMap<String, Entry>,
}

impl Backoff {
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            entries: HashMap::new(),
        }
    }

    /// The current delay of `key`; zero when it has none.
    pub fn delay(&self, key: &str) -> Duration {
        self.entries
            .get(key)
            .map_or(Duration::ZERO, |entry| entry.delay)
    }

    /// Notes a failure at `at`: the first delay, or twice the last.
    pub fn next(&mut self, key: &str, at: Timestamp) {
        let Limits { initial, max } = self.limits;
        let delay = match self.entries.get(key) {
            Some(entry) if !self.expired(at, entry.updated) => (entry.delay * 2).min(max),
            _ => initial,
        };
        self.entries
            .insert(key.to_owned(), Entry { delay, updated: at });
    }

    /// When the wait that began with the event at `since` is over; `None` when nothing has to be waited for at `now`.
    pub fn waits_since(&self, key: &str, since: Timestamp, now: Timestamp) -> Option<Timestamp> {
        let entry = self.entries.get(key)?;
        let over = time::after(since, entry.delay);
        (!self.expired(since, entry.updated) && now < over).then_some(over)
    }

    /// The same, counted from the last failure that was noted.
    pub fn waits(&self, key: &str, now: Timestamp) -> Option<Timestamp> {
        let entry = self.entries.get(key)?;
        let over = time::after(entry.updated, entry.delay);
        (!self.expired(now, entry.updated) && now < over).then_some(over)
    }

    /// Forgets `key`.
    pub fn forget(&mut self, key: &str) {
        self.entries.remove(key);
    }

    fn expired(&self, at: Timestamp, updated: Timestamp) -> bool {
        at > time::after(updated, self.limits.max * 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn doubles_up_to_the_limit_and_starts_anew_after_a_quiet_time() {
        let mut backoff = Backoff::default();
        let mut clock = 0;
        let mut seen = Vec::new();
        for _ in 0..8 {
            backoff.next("c", at(clock));
            seen.push(backoff.delay("c").as_secs());
            clock += 1;
        }
        assert_eq!(seen, [10, 20, 40, 80, 160, 300, 300, 300]);
        backoff.next("c", at(clock + 602));
        assert_eq!(backoff.delay("c").as_secs(), 10);
    }

    #[test]
    fn the_first_crash_waits_for_nothing_and_the_second_for_its_delay() {
        let mut backoff = Backoff::default();
        assert_eq!(backoff.waits_since("c", at(0), at(0)), None);
        backoff.next("c", at(0));
        assert_eq!(backoff.waits_since("c", at(5), at(6)), Some(at(15)));
        assert_eq!(backoff.waits_since("c", at(5), at(15)), None);
        assert_eq!(
            backoff.waits_since("c", at(601), at(602)),
            None,
            "ran for longer than ten minutes"
        );
    }

    #[test]
    fn pulls_count_from_the_last_failure() {
        let mut backoff = Backoff::default();
        backoff.next("p", at(0));
        assert_eq!(backoff.waits("p", at(9)), Some(at(10)));
        assert_eq!(backoff.waits("p", at(10)), None);
        backoff.forget("p");
        assert_eq!(backoff.waits("p", at(1)), None);
    }
}
