//! The volumes of a pod that could not be set up, and when each is tried again.
//!
//! Invariant: each waits longer and longer by itself; a change of what it is made of ends its wait.
//! Follows `pkg/util/goroutinemap/exponentialbackoff`.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;

use super::backoff::{Backoff, Limits};
use crate::{objects::Version, time};

/// The waits between two attempts.
const LIMITS: Limits = Limits {
    initial: Duration::from_millis(500),
    max: Duration::from_secs(122),
};

/// What is remembered of volumes that could not be set up.
#[derive(Debug)]
pub struct Failures {
    backoff: Backoff,
    /// What the volume was to be made of when it failed, by the volume's name.
    sources: HashMap<String, Vec<Version>>,
}

impl Default for Failures {
    fn default() -> Self {
        Self {
            backoff: Backoff::new(LIMITS),
            sources: HashMap::new(),
        }
    }
}

impl Failures {
    /// Until when the volume is not tried again.
    pub fn waits(&self, name: &str, sources: &[Version], now: Timestamp) -> Option<Timestamp> {
        let same = self.sources.get(name).is_some_and(|then| then == sources);
        self.backoff.waits(name, now).filter(|_| same)
    }

    /// Notes a failure; answers until when the volume is not tried again.
    pub fn note(&mut self, name: &str, sources: Vec<Version>, now: Timestamp) -> Timestamp {
        self.backoff.next(name, now);
        self.sources.insert(name.to_owned(), sources);
        time::after(now, self.backoff.delay(name))
    }

    pub fn forget(&mut self, name: &str) {
        self.backoff.forget(name);
        self.sources.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(1_700_000_000_000 + millis).unwrap()
    }

    #[test]
    fn each_volume_waits_longer_and_longer() {
        let mut failures = Failures::default();
        let (mut now, mut waits) = (at(0), Vec::new());
        for _ in 0..10 {
            assert_eq!(failures.waits("v", &[], now), None);
            let again = failures.note("v", Vec::new(), now);
            assert_eq!(failures.waits("v", &[], now), Some(again));
            waits.push(again.duration_since(now).as_millis());
            now = again;
        }
        assert_eq!(
            waits,
            [
                500, 1000, 2000, 4000, 8000, 16_000, 32_000, 64_000, 122_000, 122_000
            ]
        );
        assert_eq!(failures.waits("other", &[], now), None);
        failures.forget("v");
        let again = failures.note("v", Vec::new(), now);
        assert_eq!(again.duration_since(now).as_millis(), 500);
    }

    #[test]
    fn what_a_volume_is_made_of_ends_its_wait_by_changing() {
        let version = |text: &str| Some(text.to_owned());
        let mut failures = Failures::default();
        failures.note("v", vec![None, version("7")], at(0));
        let waits = |sources: &[Version]| failures.waits("v", sources, at(1)).is_some();
        assert!(waits(&[None, version("7")]));
        assert!(!waits(&[version("9"), version("7")]), "it appeared");
        assert!(!waits(&[None, version("8")]), "it has another content");
    }
}
