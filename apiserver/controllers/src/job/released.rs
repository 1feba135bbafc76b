//! Pods that have lost their finalizer, which the cache may still show with it.
//!
//! Invariant: a pod stays here until a pass over its Job has itself listed it without the finalizer: whatever the watch brings meanwhile, a
//! list that was made before is never counted from twice. Follows pkg/controller/job/tracking_utils.go (uidTrackingExpectations).

use std::collections::{HashMap, HashSet};

use parking_lot::Mutex;
use skiff_podspec::{parts::Meta, pod::Pod};
use skiff_watching::key::Key;

use super::is_tracked;

/// The uids of those pods, by their Job.
#[derive(Default)]
pub struct Released(Mutex<HashMap<Key, HashSet<String>>>);

impl Released {
    /// The pod's finalizer is about to go.
    pub fn insert(&self, job: &Key, uid: &str) {
        let mut released = self.0.lock();
        released.entry(job.clone()).or_default().insert(uid.into());
    }

    /// It stays after all.
    pub fn remove(&self, job: &Key, uid: &str) {
        if let Some(uids) = self.0.lock().get_mut(job) {
            uids.remove(uid);
        }
    }

    /// Those that `pods`, as the cache has just listed them, show with a finalizer. The others are forgotten.
    pub fn shown_by<'a>(
        &self,
        job: &Key,
        pods: impl IntoIterator<Item = &'a Pod>,
    ) -> HashSet<String> {
        let mut released = self.0.lock();
        let Some(uids) = released.get_mut(job) else {
            return HashSet::new();
        };
        let tracked = pods.into_iter().filter(|pod| is_tracked(pod));
        let tracked: HashSet<&str> = tracked.map(|pod| pod.metadata.uid()).collect();
        uids.retain(|uid| tracked.contains(uid.as_str()));
        if uids.is_empty() {
            released.remove(job);
            return HashSet::new();
        }
        uids.clone()
    }

    /// The Job is over or gone.
    pub fn forget(&self, job: &Key) {
        self.0.lock().remove(job);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn pod(uid: &str, finalizers: &[&str]) -> Pod {
        from_value(json!({"metadata": {"name": uid, "uid": uid, "finalizers": finalizers}}))
            .unwrap()
    }

    #[test]
    fn a_pod_is_remembered_until_it_was_listed_without_its_finalizer() {
        let (released, job) = (Released::default(), Key::new("ns", "job"));
        let none = HashSet::new();
        released.insert(&job, "a");
        released.insert(&job, "b");
        let (old_a, old_b) = (
            pod("a", &[super::super::FINALIZER]),
            pod("b", &[super::super::FINALIZER]),
        );
        let new_a = pod("a", &[]);
        let uids = |uids: &[&str]| uids.iter().map(ToString::to_string).collect::<HashSet<_>>();
        // two lists in a row that are old
        for _ in 0..2 {
            assert_eq!(released.shown_by(&job, [&old_a, &old_b]), uids(&["a", "b"]));
        }
        assert_eq!(released.shown_by(&job, [&new_a, &old_b]), uids(&["b"]));
        assert_eq!(released.shown_by(&Key::new("ns", "other"), [&old_b]), none);
        // one is gone altogether
        assert_eq!(released.shown_by(&job, [&new_a]), none);
        assert!(released.0.lock().is_empty());
        released.insert(&job, "a");
        released.remove(&job, "a");
        assert_eq!(released.shown_by(&job, [&old_a]), none);
    }
}
