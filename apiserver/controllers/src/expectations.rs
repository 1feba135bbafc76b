//! What a controller has asked for and not seen yet: until the watch has shown it, the cache must not be counted from.
//!
//! Invariant: a key is settled when nothing is outstanding or five minutes have passed since it was last asked for.
//! Follows pkg/controller/controller_utils.go (ControllerExpectations, UIDTrackingControllerExpectations).

use std::{
    collections::{HashMap, HashSet},
    ops::Deref,
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use parking_lot::Mutex;
use skiff_watching::{
    clock::{Clock, since},
    informer::{Cached, Informer},
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
        self.owners.lock().get_mut(owner).map(change)
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
        self.owners.lock().insert(owner.clone(), outstanding);
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

    /// Whether the cache can be trusted. To be asked before the cache is read: what is seen in between would be asked for once more.
    pub fn satisfied(&self, owner: &Key) -> bool {
        let now = self.clock.now();
        self.with(owner, |o| {
            (o.creations <= 0 && o.deletions.is_empty()) || since(now, o.since) > PATIENCE
        })
        .unwrap_or(true)
    }

    /// The owner is gone.
    pub fn forget(&self, owner: &Key) {
        self.owners.lock().remove(owner);
    }
}

/// A kind's cache that nobody reads before it shows what this process wrote itself: noted under the key of whom it concerns.
pub struct Fresh<K> {
    cache: Informer<K>,
    clock: Clock,
    wrote: Mutex<HashMap<Key, u64>>,
}

impl<K> Deref for Fresh<K> {
    type Target = Informer<K>;

    fn deref(&self) -> &Informer<K> {
        &self.cache
    }
}

impl<K: Cached> Fresh<K> {
    /// Over this cache.
    pub fn new(cache: Informer<K>, clock: Clock) -> Self {
        Self {
            cache,
            clock,
            wrote: Mutex::default(),
        }
    }

    /// The object `key`, or one of its dependents, was written, and is like this now.
    pub fn note(&self, key: &Key, written: &ObjectMeta) {
        let Some(version) = written
            .resource_version
            .as_deref()
            .and_then(|v| v.parse::<u64>().ok())
        else {
            return;
        };
        let mut wrote = self.wrote.lock();
        let newest = wrote.entry(key.clone()).or_insert(0);
        *newest = version.max(*newest);
    }

    /// Waits until the cache shows what was noted for `key`.
    pub async fn catch_up(&self, key: &Key) {
        let version = self.wrote.lock().remove(key);
        if let Some(version) = version {
            self.cache.reach(version, &self.clock).await;
        }
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
