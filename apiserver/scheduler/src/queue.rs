//! The pods that wait: those to be tried now by priority and age, and those that were tried and wait for something to change.
//!
//! Invariant: a pod is in one of the two. What was tried in vain is tried again when something happened that its plugins hope for: at once
//! when nothing else is to be tried, else when its back-off is over (1 s doubling to 10 s); after an error when its back-off is over; and
//! after 5 minutes in any case. Where there are no nodes, only one that comes is hoped for (upstream tries again and again). Follows `pkg/scheduler/backend/queue/{scheduling_queue,backoff_queue}.go`.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    events::Standing,
    figures::{Attempt, Figures, Place},
    framework::{ClusterEvent, Plugins},
    pod::PodInfo,
    run::hopes,
};

const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(10);
const FLUSH: Duration = Duration::from_secs(300);

/// What brings a pod to a place besides changes of the cluster, by upstream's names.
mod event {
    pub const NEW: &str = "UnschedulablePodAdd";
    pub const LET_GO: &str = "UnschedulablePodUpdatePodSchedulingGatesEliminated";
    pub const FAILED: &str = "ScheduleAttemptFailure";
    pub const RESTED: &str = "BackoffComplete";
    pub const EARLY: &str = "PopFromBackoffQ";
    pub const LATE: &str = "UnschedulableTimeout";
    pub const FORCED: &str = "ForceActivate";
}

/// Why a pod waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// These plugins kept it off every node.
    Rejected(Plugins),
    /// There are none.
    NoNodes,
    /// Something went wrong.
    Error,
}

struct Waiting {
    pod: Arc<PodInfo>,
    why: Why,
    since: Instant,
    back_off: Duration,
    /// What happened that it hopes for, by its name.
    moved: Option<&'static str>,
    /// Room is being made for it: until that is done it is not tried again.
    held: bool,
}

impl Waiting {
    fn is_ready(&self) -> bool {
        self.moved.is_some() && !self.held
    }

    /// Whether the event may let it fit, and nothing before did.
    fn hopes_for(&self, event: &ClusterEvent) -> bool {
        self.moved.is_none()
            && match self.why {
                Why::Rejected(by) => hopes(by, &self.pod, event),
                Why::NoNodes => matches!(event, ClusterEvent::NodeAdded(_)),
                Why::Error => false,
            }
    }

    /// Something happened; of several the first counts.
    fn hope(&mut self, event: &'static str) {
        self.moved.get_or_insert(event);
    }

    fn due(&self) -> Instant {
        self.since
            + if self.is_ready() {
                self.back_off
            } else {
                FLUSH
            }
    }
}

/// How often a pod was tried in vain.
#[derive(Clone, Copy, Default)]
struct Tries {
    rejections: u32,
    errors: u32,
    attempts: u32,
    /// When the first began.
    first: Option<Instant>,
    /// What the last wanted to be written.
    said: Option<Standing>,
}

#[derive(Default)]
pub struct Queue {
    /// Highest priority first, then the oldest.
    active: BTreeMap<(Reverse<i32>, u64), Arc<PodInfo>>,
    places: HashMap<Arc<str>, (Reverse<i32>, u64)>,
    waiting: HashMap<Arc<str>, Waiting>,
    /// When those that wait are due.
    due: BTreeSet<(Instant, Reverse<i32>, Arc<str>)>,
    /// Those that may be tried at once when there is nothing else.
    ready: BTreeSet<(Instant, Reverse<i32>, Arc<str>)>,
    tries: HashMap<Arc<str>, Tries>,
    /// Pods that are not to be tried yet.
    gated: HashSet<Arc<str>>,
    /// How many of those that wait may be tried when their back-off is over.
    backing_off: usize,
    next: u64,
    figures: Arc<Figures>,
}

fn back_off(tries: u32) -> Duration {
    FIRST
        .saturating_mul(1 << tries.saturating_sub(1).min(10))
        .min(LONGEST)
}

impl Queue {
    /// An empty queue that counts here.
    pub fn new(figures: Arc<Figures>) -> Queue {
        Queue {
            figures,
            ..Queue::default()
        }
    }

    /// Whether the pod is here, to be tried or not.
    pub fn knows(&self, uid: &str) -> bool {
        let gated = self.gated.contains(uid);
        gated || self.places.contains_key(uid) || self.waiting.contains_key(uid)
    }

    /// A pod that is new or changed.
    pub fn put(&mut self, pod: Arc<PodInfo>) {
        let event = match self.gated.remove(&pod.uid) {
            true => event::LET_GO,
            false => event::NEW,
        };
        if let Some(place) = self.places.get(&pod.uid) {
            self.active.insert(*place, pod);
            return;
        }
        if let Some(waiting) = self.waiting.get_mut(&pod.uid) {
            let old = std::mem::replace(&mut waiting.pod, pod.clone());
            let uid = pod.uid.clone();
            let event = ClusterEvent::Own { old, new: pod };
            if waiting.hopes_for(&event) {
                self.change(&uid, |waiting| waiting.hope(event.label()));
            }
            return;
        }
        self.activate(pod, event);
    }

    /// A pod that is not to be tried yet.
    pub fn gate(&mut self, uid: &Arc<str>) {
        if self.gated.contains(uid) {
            return;
        }
        self.remove(uid);
        self.gated.insert(uid.clone());
        self.figures.came(event::NEW, Place::Unschedulable);
    }

    fn activate(&mut self, pod: Arc<PodInfo>, event: &'static str) {
        self.figures.came(event, Place::Active);
        let place = (Reverse(pod.priority), self.next);
        self.next += 1;
        self.places.insert(pod.uid.clone(), place);
        self.active.insert(place, pod);
    }

    fn key(waiting: &Waiting, at: Instant) -> (Instant, Reverse<i32>, Arc<str>) {
        (at, Reverse(waiting.pod.priority), waiting.pod.uid.clone())
    }

    fn unlist(&mut self, uid: &str) {
        let Some(waiting) = self.waiting.get(uid) else {
            return;
        };
        let key = Self::key(waiting, waiting.due());
        if self.due.remove(&key) && waiting.is_ready() {
            self.backing_off -= 1;
        }
        self.ready.remove(&key);
    }

    fn list(&mut self, uid: &str) {
        let Some(waiting) = self.waiting.get(uid) else {
            return;
        };
        let key = Self::key(waiting, waiting.due());
        if waiting.is_ready() && waiting.why != Why::Error {
            self.ready.insert(key.clone());
        }
        if self.due.insert(key) && waiting.is_ready() {
            self.backing_off += 1;
        }
    }

    fn change(&mut self, uid: &str, change: impl FnOnce(&mut Waiting)) {
        self.unlist(uid);
        if let Some(waiting) = self.waiting.get_mut(uid) {
            let was_ready = waiting.is_ready();
            change(waiting);
            if let Some(event) = waiting.moved.filter(|_| !was_ready && waiting.is_ready()) {
                self.figures.came(event, Place::Backoff);
            }
        }
        self.list(uid);
    }

    fn take(&mut self, uid: &str) -> Option<Arc<PodInfo>> {
        self.unlist(uid);
        self.waiting.remove(uid).map(|waiting| waiting.pod)
    }

    pub fn remove(&mut self, uid: &str) {
        if let Some(place) = self.places.remove(uid) {
            self.active.remove(&place);
        }
        self.take(uid);
        self.tries.remove(uid);
        self.gated.remove(uid);
    }

    /// The pod to be tried next.
    pub fn pop(&mut self) -> Option<Arc<PodInfo>> {
        if let Some((_, pod)) = self.active.pop_first() {
            self.places.remove(&pod.uid);
            return Some(pod);
        }
        let (_, _, uid) = self.ready.first().cloned()?;
        self.figures.came(event::EARLY, Place::Active);
        self.take(&uid)
    }

    /// The attempt that begins with the pod that was taken.
    pub fn attempt(&self, uid: &str, now: Instant) -> Attempt {
        let tries = self.tries.get(uid).copied().unwrap_or_default();
        Attempt {
            number: tries.attempts + 1,
            first: tries.first.unwrap_or(now),
            began: now,
        }
    }

    /// It was in vain.
    pub fn tried(&mut self, uid: &Arc<str>, attempt: &Attempt) {
        let tries = self.tries.entry(uid.clone()).or_default();
        (tries.attempts, tries.first) = (attempt.number, Some(attempt.first));
    }

    /// The pod is to say so from now on; tells what it said until now.
    pub fn says(&mut self, pod: &PodInfo, wanted: Standing) -> Standing {
        let tries = self.tries.entry(pod.uid.clone()).or_default();
        let said = tries.said.replace(wanted);
        said.unwrap_or_else(|| Standing::of(pod))
    }

    /// How many wait, by place.
    pub fn tell(&self) {
        let tried = self.waiting.len() - self.backing_off;
        self.figures
            .wait([self.active.len(), self.backing_off, tried, self.gated.len()]);
    }

    /// The pod was tried in vain. With `held`, room is being made for it.
    pub fn wait(&mut self, pod: Arc<PodInfo>, why: Why, held: bool, now: Instant) {
        let tries = self.tries.entry(pod.uid.clone()).or_default();
        match why {
            Why::Error => tries.errors += 1,
            Why::Rejected(_) | Why::NoNodes => {
                (tries.rejections, tries.errors) = (tries.rejections + 1, 0);
            }
        }
        let back_off = back_off(if tries.errors > 0 {
            tries.errors
        } else {
            tries.rejections
        });
        let uid = pod.uid.clone();
        self.unlist(&uid);
        let failed = why == Why::Error && !held;
        let place = match failed {
            true => Place::Backoff,
            false => Place::Unschedulable,
        };
        self.figures.came(event::FAILED, place);
        self.waiting.insert(
            uid.clone(),
            Waiting {
                pod,
                why,
                since: now,
                back_off,
                moved: (why == Why::Error).then_some(event::FAILED),
                held,
            },
        );
        self.list(&uid);
    }

    /// Room was made for the pod, or could not be (`failed`: then it is to be tried again).
    pub fn release(&mut self, uid: &str, failed: bool) {
        self.change(uid, |waiting| {
            waiting.held = false;
            if failed {
                waiting.hope(event::FORCED);
            }
        });
    }

    /// Something happened that may let waiting pods fit.
    pub fn changed(&mut self, event: &ClusterEvent) {
        let waiting = self.waiting.values();
        let hopeful = waiting.filter(|waiting| waiting.hopes_for(event));
        let uids: Vec<Arc<str>> = hopeful.map(|waiting| waiting.pod.uid.clone()).collect();
        for uid in uids {
            self.change(&uid, |waiting| waiting.hope(event.label()));
        }
    }

    /// Takes up those whose time has come.
    pub fn wake(&mut self, now: Instant) {
        while let Some((_, _, uid)) = self.due.first().filter(|(at, _, _)| *at <= now).cloned() {
            let rested = self.waiting.get(&uid).is_some_and(Waiting::is_ready);
            if let Some(pod) = self.take(&uid) {
                let event = if rested { event::RESTED } else { event::LATE };
                self.activate(pod, event);
            }
        }
    }

    /// When [`Queue::wake`] has something to do.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.first().map(|(at, _, _)| *at)
    }

    pub fn has_active(&self) -> bool {
        !self.active.is_empty() || !self.ready.is_empty()
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use skiff_watching::tally::Part;

    use super::*;
    use crate::pod::tests;

    fn pod(name: &str, priority: i32) -> Arc<PodInfo> {
        tests::pod(name, json!({"spec": {"priority": priority}}))
    }

    fn any() -> ClusterEvent {
        ClusterEvent::PodDeleted(pod("other", 0))
    }

    #[test]
    fn priority_then_age() {
        let mut queue = Queue::default();
        for (name, priority) in [("a", 0), ("b", 5), ("c", 0)] {
            queue.put(pod(name, priority));
        }
        let order: Vec<String> = std::iter::from_fn(|| queue.pop())
            .map(|p| p.name.clone())
            .collect();
        assert_eq!(order, ["b", "a", "c"]);
    }

    #[test]
    fn waits_for_a_change_and_goes_after_all_others() {
        let (mut queue, begun) = (Queue::default(), Instant::now());
        queue.wait(pod("a", 0), Why::Rejected(Plugins::default()), false, begun);
        queue.wake(begun + Duration::from_secs(20));
        assert!(!queue.has_active(), "nothing changed");
        queue.changed(&any());
        assert!(
            queue.has_active(),
            "nothing else is to be tried, so its back-off does not count"
        );
        queue.put(pod("b", 0));
        let order: Vec<String> = std::iter::from_fn(|| queue.pop())
            .map(|p| p.name.clone())
            .collect();
        assert_eq!(order, ["b", "a"]);
        queue.wait(pod("a", 0), Why::Rejected(Plugins::default()), false, begun);
        queue.wake(begun + FLUSH);
        assert!(queue.has_active(), "in any case after a while");
    }

    #[test]
    fn without_nodes_only_a_node_is_waited_for() {
        let (mut queue, begun) = (Queue::default(), Instant::now());
        queue.wait(pod("a", 0), Why::NoNodes, false, begun);
        // what is written of it makes it no other pod
        queue.put(pod("a", 0));
        queue.changed(&ClusterEvent::Namespace);
        assert!(!queue.has_active(), "there are no nodes yet");
        queue.changed(&ClusterEvent::NodeAdded(Arc::default()));
        assert!(queue.has_active());
    }

    #[test]
    fn places_and_what_brings_pods_there_are_counted() {
        let (figures, begun) = (Arc::<Figures>::default(), Instant::now());
        let mut queue = Queue::new(figures.clone());
        let told = |queue: &Queue, line: &str| {
            queue.tell();
            let mut text = String::new();
            figures.tell(&mut text);
            let found = text.lines().find_map(|one| one.strip_prefix(line));
            found.map(|value| value.trim().parse::<u64>().unwrap())
        };
        let pending = |queue: &Queue| {
            ["active", "backoff", "unschedulable", "gated"]
                .map(|place| {
                    told(
                        queue,
                        &format!("scheduler_pending_pods{{queue=\"{place}\"}}"),
                    )
                })
                .map(Option::unwrap)
        };
        let came = |queue: &Queue, event: &str, place: &str| {
            let labels = format!("{{event=\"{event}\",queue=\"{place}\"}}");
            told(
                queue,
                &format!("scheduler_queue_incoming_pods_total{labels}"),
            )
        };
        queue.gate(&"a".into());
        queue.gate(&"a".into());
        assert_eq!(pending(&queue), [0, 0, 0, 1]);
        assert_eq!(
            came(&queue, "UnschedulablePodAdd", "unschedulable"),
            Some(1)
        );
        queue.put(pod("a", 0));
        assert_eq!(pending(&queue), [1, 0, 0, 0]);
        assert_eq!(came(&queue, event::LET_GO, "active"), Some(1));
        let taken = queue.pop().unwrap();
        let first = queue.attempt(&taken.uid, begun);
        assert_eq!((first.number, pending(&queue)), (1, [0; 4]));
        queue.tried(&taken.uid, &first);
        queue.wait(taken, Why::Rejected(Plugins::default()), true, begun);
        queue.changed(&any());
        assert_eq!(pending(&queue), [0, 0, 1, 0], "room is being made");
        assert_eq!(
            came(&queue, "ScheduleAttemptFailure", "unschedulable"),
            Some(1)
        );
        assert_eq!(came(&queue, "AssignedPodDelete", "backoff"), None);
        queue.release("a", false);
        assert_eq!(pending(&queue), [0, 1, 0, 0]);
        assert_eq!(came(&queue, "AssignedPodDelete", "backoff"), Some(1));
        queue.wake(begun + FIRST);
        assert_eq!(pending(&queue), [1, 0, 0, 0]);
        assert_eq!(came(&queue, "BackoffComplete", "active"), Some(1));
        let again = queue.attempt("a", begun + FIRST);
        assert_eq!((again.number, again.first), (2, begun));
        queue.remove("a");
        assert_eq!(pending(&queue), [0; 4]);
    }

    #[test]
    fn errors_back_off() {
        let (mut queue, begun) = (Queue::default(), Instant::now());
        for seconds in [1, 2, 4, 8, 10, 10] {
            queue.wait(pod("a", 0), Why::Error, false, begun);
            queue.changed(&any());
            queue.wake(begun + Duration::from_millis(seconds * 1000 - 1));
            assert!(!queue.has_active(), "{seconds}");
            assert_eq!(queue.next_due(), Some(begun + Duration::from_secs(seconds)));
            queue.wake(begun + Duration::from_secs(seconds));
            assert!(queue.pop().is_some(), "{seconds}");
        }
    }

    #[test]
    fn a_pod_that_room_is_made_for_waits_until_it_is_made() {
        let (mut queue, begun) = (Queue::default(), Instant::now());
        queue.wait(pod("a", 0), Why::Rejected(Plugins::default()), true, begun);
        queue.changed(&any());
        assert!(!queue.has_active());
        queue.release("a", false);
        assert!(queue.has_active(), "what happened meanwhile counts");
        queue.pop();
        queue.wait(pod("a", 0), Why::Rejected(Plugins::default()), true, begun);
        queue.release("a", true);
        assert!(
            queue.has_active(),
            "it is tried again when no room could be made"
        );
    }
}
