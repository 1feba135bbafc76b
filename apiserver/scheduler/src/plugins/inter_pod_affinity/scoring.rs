//! What pods prefer of each other. A term that is required of a pod that runs counts one for the pods that it means.
//! Follows `plugins/interpodaffinity/scoring.go`.

use std::collections::HashMap;

use super::{Places, matcher};
use crate::{
    framework::{BEST, View},
    pod::PodInfo,
    terms::Wish,
};

/// What a requirement of a pod that runs weighs (`hardPodAffinityWeight`).
const REQUIRED: i64 = 1;

/// What the wishes of all pods add up to, by topology.
pub fn count(view: View, pod: &PodInfo) -> Places {
    let mut wishes = Places::default();
    for (weight, term) in &pod.terms.rather {
        let counts = view.cache.count(&matcher([term], view.namespaces));
        for node in view.cache.nodes() {
            let count = i64::from(counts.get(node.place).copied().unwrap_or(0));
            if count > 0 {
                wishes.add(node, &term.key, i64::from(*weight) * count);
            }
        }
    }
    let mut known = HashMap::new();
    for node in view.cache.nodes().filter(|node| !node.held.is_empty()) {
        for (number, count) in &node.held {
            let Some(held) = view.cache.held(*number) else {
                continue;
            };
            let weight = match held.wish {
                Wish::Near => REQUIRED,
                Wish::Rather(weight) => i64::from(weight),
                Wish::Apart => continue,
            };
            if *known.entry(*number).or_insert_with(|| {
                held.term
                    .matches(&pod.namespace, pod.labels(), view.namespaces)
            }) {
                wishes.add(node, &held.term.key, weight * i64::from(*count));
            }
        }
    }
    wishes
}

/// The lowest becomes 0 and the highest 100; when all are alike, all are 0.
pub fn normalize(scores: &mut [i64]) {
    let (least, most) = (
        scores.iter().copied().min().unwrap_or(0),
        scores.iter().copied().max().unwrap_or(0),
    );
    for score in scores {
        *score = if most > least {
            (BEST as f64 * ((*score - least) as f64 / (most - least) as f64)) as i64
        } else {
            0
        };
    }
}
