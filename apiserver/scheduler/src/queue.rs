//! The pods that wait: those to be tried now by priority and age, those that back off, those that fit nowhere until something changes.
//!
//! Invariant: a pod is in one of the three. Follows `pkg/scheduler/backend/queue/scheduling_queue.go`: back-off from 1 s doubling to 10 s, and
//! a new attempt after 5 minutes in any case.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::pod::PodInfo;

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);
const FLUSH: Duration = Duration::from_secs(300);

struct Waiting {
    pod: Arc<PodInfo>,
    attempts: u32,
    since: Instant,
    /// Something changed while it waits: it goes on when its back-off is over.
    moved: bool,
}

#[derive(Default)]
pub struct Queue {
    /// Highest priority first, then the oldest.
    active: BTreeMap<(Reverse<i32>, u64), Arc<PodInfo>>,
    places: HashMap<Arc<str>, (Reverse<i32>, u64)>,
    waiting: HashMap<Arc<str>, Waiting>,
    attempts: HashMap<Arc<str>, u32>,
    next: u64,
}

fn back_off(attempts: u32) -> Duration {
    FIRST.saturating_mul(1 << attempts.saturating_sub(1).min(10)).min(LONGEST)
}

impl Queue {
    /// A pod that is new or changed.
    pub fn put(&mut self, pod: Arc<PodInfo>) {
        if let Some(place) = self.places.get(&pod.uid) {
            self.active.insert(*place, pod);
            return;
        }
        if let Some(waiting) = self.waiting.get_mut(&pod.uid) {
            // its own status is what the scheduler writes; only a new spec lets it hope
            if waiting.pod.pod.spec != pod.pod.spec || waiting.pod.pod.metadata.labels != pod.pod.metadata.labels {
                waiting.moved = true;
            }
            waiting.pod = pod;
            return;
        }
        let place = (Reverse(pod.priority), self.next);
        self.next += 1;
        self.places.insert(pod.uid.clone(), place);
        self.active.insert(place, pod);
    }

    pub fn remove(&mut self, uid: &str) {
        if let Some(place) = self.places.remove(uid) {
            self.active.remove(&place);
        }
        self.waiting.remove(uid);
        self.attempts.remove(uid);
    }

    pub fn pop(&mut self) -> Option<Arc<PodInfo>> {
        let (_, pod) = self.active.pop_first()?;
        self.places.remove(&pod.uid);
        *self.attempts.entry(pod.uid.clone()).or_default() += 1;
        Some(pod)
    }

    /// The pod fits nowhere, or could not be bound (`retry`: soon again).
    pub fn wait(&mut self, pod: Arc<PodInfo>, retry: bool, now: Instant) {
        let attempts = self.attempts.get(&pod.uid).copied().unwrap_or(1);
        self.waiting.insert(pod.uid.clone(), Waiting { pod, attempts, since: now, moved: retry });
    }

    /// Something changed that may let waiting pods fit.
    pub fn changed(&mut self, now: Instant) {
        self.changed_for(now, |_| true);
    }

    /// Something changed that may let those waiting pods fit that it concerns.
    pub fn changed_for(&mut self, now: Instant, concerns: impl Fn(&PodInfo) -> bool) {
        self.waiting.values_mut().filter(|waiting| concerns(&waiting.pod)).for_each(|waiting| waiting.moved = true);
        self.wake(now);
    }

    /// Takes up those whose time has come.
    pub fn wake(&mut self, now: Instant) {
        let due: Vec<Arc<str>> = self
            .waiting
            .iter()
            .filter(|(_, w)| {
                let waited = now.saturating_duration_since(w.since);
                w.moved && waited >= back_off(w.attempts) || waited >= FLUSH
            })
            .map(|(uid, _)| uid.clone())
            .collect();
        for uid in due {
            if let Some(waiting) = self.waiting.remove(&uid) {
                self.put(waiting.pod);
            }
        }
    }

    pub fn has_active(&self) -> bool {
        !self.active.is_empty()
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, priority: i32) -> Arc<PodInfo> {
        let mut pod = k8s_openapi::api::core::v1::Pod::default();
        pod.metadata.uid = Some(name.into());
        pod.metadata.name = Some(name.into());
        pod.spec = Some(k8s_openapi::api::core::v1::PodSpec { priority: Some(priority), ..Default::default() });
        Arc::new(PodInfo::new(Arc::new(pod)))
    }

    #[test]
    fn priority_then_age() {
        let mut queue = Queue::default();
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0)] {
            queue.put(pod(name, priority));
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop()).map(|p| p.name.clone()).collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn waits_for_a_change_and_its_back_off() {
        let mut queue = Queue::default();
        let begun = Instant::now();
        queue.put(pod("a", 0));
        let first = queue.pop().unwrap();
        queue.wait(first, false, begun);
        queue.wake(begun + Duration::from_secs(20));
        assert!(!queue.has_active(), "nothing changed");
        queue.changed(begun + Duration::from_millis(500));
        assert!(!queue.has_active(), "its back-off runs");
        queue.wake(begun + Duration::from_secs(1));
        assert!(queue.has_active());
        let again = queue.pop().unwrap();
        queue.wait(again, false, begun);
        queue.changed(begun + Duration::from_millis(1500));
        assert!(!queue.has_active(), "the second back-off is longer");
        queue.wake(begun + FLUSH);
        assert!(queue.has_active());
    }
}
