//! Which of several nodes is made room on. Follows `pkg/scheduler/framework/preemption/preemption.go` (pickOneNodeForPreemption).

use std::cmp::Reverse;

use jiff::Timestamp;

use super::victims::{Victims, started};

/// Smaller is better: budgets broken, the highest priority, the sum of priorities, the number, and the latest start of the most important.
fn price(victims: &Victims, now: Timestamp) -> (usize, i32, i64, usize, Reverse<Timestamp>) {
    let highest = victims
        .pods
        .iter()
        .map(|pod| pod.priority)
        .max()
        .unwrap_or(i32::MIN);
    let sum = victims
        .pods
        .iter()
        .map(|pod| i64::from(pod.priority) + i64::from(i32::MAX) + 1)
        .sum();
    let earliest = victims
        .pods
        .iter()
        .filter(|pod| pod.priority == highest)
        .map(|pod| started(pod, now))
        .min()
        .unwrap_or(now);
    (
        victims.violations,
        highest,
        sum,
        victims.pods.len(),
        Reverse(earliest),
    )
}

/// The cheapest node; none when nobody would have to leave anywhere.
pub fn best(candidates: Vec<(String, Victims)>, now: Timestamp) -> Option<(String, Victims)> {
    candidates
        .into_iter()
        .filter(|(_, victims)| !victims.pods.is_empty())
        .min_by_key(|(_, victims)| price(victims, now))
}
