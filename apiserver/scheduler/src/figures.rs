//! What the scheduler counts: attempts and how long they take, pods by where they wait, what brings pods into a queue, and who has to leave.
//!
//! Invariant: labels are names of this table, of events and of the profile, never text of a pod; to count allocates nothing once an event has been seen.
//! Follows `pkg/scheduler/metrics/{metrics,profile_metrics}.go`.

use std::{
    collections::BTreeMap,
    fmt::Write,
    sync::{Mutex, OnceLock, PoisonError},
    time::{Duration, Instant},
};

use skiff_watching::tally::{Counter, Gauge, Histogram, Part, exponential, family, single};

/// Upper ends of the seconds that an attempt takes.
const ATTEMPT: &[f64] = &exponential::<15>(0.001, 2.0);
/// Those of the seconds from a pod's first attempt until it has its node.
const WHOLE: &[f64] = &exponential::<20>(0.01, 2.0);
/// Those of the attempts that a pod needs.
const ATTEMPTS: &[f64] = &exponential::<5>(1.0, 2.0);
/// Those of the pods that have to leave for one.
const VICTIMS: &[f64] = &exponential::<7>(1.0, 2.0);

/// From so many attempts on they are one label.
const MANY: usize = 15;

/// What came of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Scheduled,
    Unschedulable,
    Error,
}

const OUTCOMES: [&str; 3] = ["scheduled", "unschedulable", "error"];

/// Where a pod waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    Active,
    Backoff,
    Unschedulable,
    Gated,
}

const PLACES: [&str; 4] = ["active", "backoff", "unschedulable", "gated"];

/// One attempt to give a pod a node.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    /// The first is 1.
    pub number: u32,
    /// When the first began, and this one.
    pub first: Instant,
    pub began: Instant,
}

/// All figures of one scheduler.
pub struct Figures {
    profile: OnceLock<String>,
    attempts: [Histogram; OUTCOMES.len()],
    algorithm: Histogram,
    /// By how many attempts it took.
    whole: [Histogram; MANY],
    needed: Histogram,
    preemptions: Counter,
    victims: Histogram,
    pending: [Gauge; PLACES.len()],
    incoming: Mutex<BTreeMap<(&'static str, Place), u64>>,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures {
            profile: OnceLock::new(),
            attempts: std::array::from_fn(|_| Histogram::new(ATTEMPT)),
            algorithm: Histogram::new(ATTEMPT),
            whole: std::array::from_fn(|_| Histogram::new(WHOLE)),
            needed: Histogram::new(ATTEMPTS),
            preemptions: Counter::default(),
            victims: Histogram::new(VICTIMS),
            pending: Default::default(),
            incoming: Mutex::default(),
        }
    }
}

impl Figures {
    /// Whose figures they are; the first who says it is believed.
    pub fn of_profile(&self, name: &str) {
        self.profile.get_or_init(|| name.to_owned());
    }

    /// A node was looked for, or room on one.
    pub fn decided(&self, took: Duration) {
        self.algorithm.observe(took.as_secs_f64());
    }

    /// An attempt is over.
    pub fn over(&self, attempt: &Attempt, outcome: Outcome) {
        let took = attempt.began.elapsed();
        self.attempts[outcome as usize].observe(took.as_secs_f64());
        if outcome == Outcome::Scheduled {
            let number = usize::try_from(attempt.number).unwrap_or(MANY);
            let whole = attempt.first.elapsed();
            self.whole[number.clamp(1, MANY) - 1].observe(whole.as_secs_f64());
            self.needed.observe(f64::from(attempt.number));
        }
    }

    /// Room was looked for by letting others leave.
    pub fn searched(&self) {
        self.preemptions.add(1);
    }

    /// So many have to leave.
    pub fn preempted(&self, victims: usize) {
        self.victims.observe(victims as f64);
    }

    /// An event brought a pod to a place.
    pub fn came(&self, event: &'static str, place: Place) {
        let mut incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        *incoming.entry((event, place)).or_default() += 1;
    }

    /// How many wait, by place.
    pub fn wait(&self, pods: [usize; PLACES.len()]) {
        for (gauge, count) in self.pending.iter().zip(pods) {
            gauge.set(count as u64);
        }
    }

    fn of_attempts(&self, text: &mut String) {
        let profile = self.profile.get().map_or("", String::as_str);
        let labels = |outcome| format!("profile=\"{profile}\",result=\"{outcome}\"");
        let seen = || {
            let each = OUTCOMES.iter().zip(&self.attempts);
            each.filter(|(_, times)| times.count() > 0)
        };
        let mut name = "scheduler_schedule_attempts_total";
        family(text, name, "counter", "Attempts to give a pod a node.");
        for (outcome, times) in seen() {
            // a string takes whatever is written to it
            let _ = writeln!(text, "{name}{{{}}} {}", labels(outcome), times.count());
        }
        name = "scheduler_scheduling_attempt_duration_seconds";
        let help = "Seconds that an attempt took, its binding included.";
        family(text, name, "histogram", help);
        for (outcome, times) in seen() {
            times.text(name, &labels(outcome), text);
        }
        name = "scheduler_scheduling_algorithm_duration_seconds";
        let help = "Seconds until it was decided where a pod goes.";
        family(text, name, "histogram", help);
        self.algorithm.text(name, "", text);
    }

    fn of_pods(&self, text: &mut String) {
        let mut name = "scheduler_pod_scheduling_sli_duration_seconds";
        let help = "Seconds from the first attempt until a pod had its node.";
        family(text, name, "histogram", help);
        for (at, times) in self.whole.iter().enumerate() {
            if times.count() > 0 {
                let more = if at + 1 == MANY { "+" } else { "" };
                times.text(name, &format!("attempts=\"{}{more}\"", at + 1), text);
            }
        }
        name = "scheduler_pod_scheduling_attempts";
        family(
            text,
            name,
            "histogram",
            "Attempts until a pod had its node.",
        );
        self.needed.text(name, "", text);
    }
}

impl Part for Figures {
    fn tell(&self, text: &mut String) {
        self.of_attempts(text);
        self.of_pods(text);
        let mut name = "scheduler_pending_pods";
        family(
            text,
            name,
            "gauge",
            "Pods without a node, by where they wait.",
        );
        for (place, count) in PLACES.iter().zip(&self.pending) {
            // a string takes whatever is written to it
            let _ = writeln!(text, "{name}{{queue=\"{place}\"}} {}", count.get());
        }
        name = "scheduler_queue_incoming_pods_total";
        let help = "Pods that came to a place, and why.";
        family(text, name, "counter", help);
        let incoming = self.incoming.lock().unwrap_or_else(PoisonError::into_inner);
        for ((event, place), count) in &*incoming {
            let place = PLACES[*place as usize];
            let _ = writeln!(
                text,
                "{name}{{event=\"{event}\",queue=\"{place}\"}} {count}"
            );
        }
        name = "scheduler_preemption_attempts_total";
        let help = "How often it was looked whether others could leave for a pod.";
        single(text, name, "counter", help, self.preemptions.get());
        name = "scheduler_preemption_victims";
        family(text, name, "histogram", "Pods that had to leave for one.");
        self.victims.text(name, "", text);
    }
}
