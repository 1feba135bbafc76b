//! What a controller has asked for and not seen yet: until the watch has shown it, the cache must not be counted from.
//!
//! Invariant: a key is settled when nothing is outstanding or five minutes have passed since it was last asked for.
//! Follows pkg/controller/controller_utils.go (ControllerExpectations, UIDTrackingControllerExpectations).

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    clock::{Clock, since},
    key::Key,
};

const PATIENCE: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Outstanding {
    creations: i64,
    deletions: HashSet<Key>,
    since: Timestamp,
}

/// Outstanding creations (counted) and deletions (by pod) of each owner.
pub struct Expectations {
    clock: Clock,
    owners: Mutex<HashMap<Key, Outstanding>>,
}

impl Expectations {
    /// Nothing is expected.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            owners: Mutex::default(),
        }
    }

    fn with<R>(&self, owner: &Key, change: impl FnOnce(&mut Outstanding) -> R) -> Option<R> {
        self.owners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_mut(owner)
            .map(change)
    }

    /// `count` objects are about to be created.
    pub fn expect_creations(&self, owner: &Key, count: usize) {
        self.expect(owner, count, HashSet::new());
    }

    /// These are about to be deleted.
    pub fn expect_deletions(&self, owner: &Key, pods: impl IntoIterator<Item = Key>) {
        self.expect(owner, 0, pods.into_iter().collect());
    }

    /// Both at once.
    pub fn expect(&self, owner: &Key, creations: usize, deletions: HashSet<Key>) {
        let outstanding = Outstanding {
            creations: i64::try_from(creations).unwrap_or(i64::MAX),
            deletions,
            since: self.clock.now(),
        };
        self.owners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(owner.clone(), outstanding);
    }

    /// One was created, or will not be.
    pub fn creation_observed(&self, owner: &Key) {
        self.creations_observed(owner, 1);
    }

    /// So many were created, or will not be.
    pub fn creations_observed(&self, owner: &Key, count: usize) {
        self.with(owner, |o| {
            o.creations -= i64::try_from(count).unwrap_or(i64::MAX)
        });
    }

    /// `pod` is gone, or will not be deleted.
    pub fn deletion_observed(&self, owner: &Key, pod: &Key) {
        self.with(owner, |o| o.deletions.remove(pod));
    }

    /// Whether the cache can be trusted.
    pub fn satisfied(&self, owner: &Key) -> bool {
        let now = self.clock.now();
        self.with(owner, |o| {
            (o.creations <= 0 && o.deletions.is_empty()) || since(now, o.since) > PATIENCE
        })
        .unwrap_or(true)
    }

    /// The owner is gone.
    pub fn forget(&self, owner: &Key) {
        self.owners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(owner);
    }
}

/// The newest version that this process wrote of each object, so that nobody reconciles from a cache older than its own writes.
#[derive(Default)]
pub struct Wrote(Mutex<HashMap<Key, u64>>);

impl Wrote {
    /// The object `key` (or one of its dependents) was written at `version`.
    pub fn note(&self, key: &Key, version: Option<&str>) {
        let Some(version) = version.and_then(|v| v.parse::<u64>().ok()) else {
            return;
        };
        let mut wrote = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let newest = wrote.entry(key.clone()).or_insert(0);
        *newest = version.max(*newest);
    }

    /// Takes what was noted for `key`.
    pub fn take(&self, key: &Key) -> Option<u64> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settled_when_all_was_seen() {
        let (expectations, owner, pod) = (
            Expectations::new(Clock::system()),
            Key::new("ns", "rs"),
            Key::new("ns", "p"),
        );
        assert!(expectations.satisfied(&owner));
        expectations.expect_creations(&owner, 2);
        expectations.creation_observed(&owner);
        assert!(!expectations.satisfied(&owner));
        expectations.creation_observed(&owner);
        assert!(expectations.satisfied(&owner));
        expectations.expect_deletions(&owner, [pod.clone()]);
        expectations.deletion_observed(&owner, &Key::new("ns", "another"));
        assert!(!expectations.satisfied(&owner));
        expectations.deletion_observed(&owner, &pod);
        assert!(expectations.satisfied(&owner));
    }
}
