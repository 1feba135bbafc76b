//! What a budget's pods amount to.
//!
//! Invariant: pure; a pod that was allowed to be evicted counts as gone until it is, or has stayed for too long. Follows
//! pkg/controller/disruption/disruption.go (getExpectedPodCount, countHealthyPods, buildDisruptedPodMap, updatePdbStatus).

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec, PodDisruptionBudgetStatus},
    apimachinery::pkg::{
        apis::meta::v1::{Condition, Time},
        util::intstr::IntOrString,
    },
};
use skiff_podspec::pod::Pod;

use crate::{clock::after, fraction::scaled, pods, prelude::*};

/// How long an evicted pod may take to start to go.
const DELETION_TIMEOUT: Duration = Duration::from_secs(120);
const ALLOWED: &str = "DisruptionAllowed";

/// Whether the budget is a share of what the pods' controllers want.
pub fn needs_scale(spec: &PodDisruptionBudgetSpec) -> bool {
    let share = matches!(spec.min_available, Some(IntOrString::String(_)));
    spec.max_unavailable.is_some() || share
}

/// Expected and desired pods, of so many that are selected and so many that their controllers want.
pub fn wanted(spec: &PodDisruptionBudgetSpec, selected: usize, scale: i32) -> (i32, i32) {
    match (&spec.max_unavailable, &spec.min_available) {
        (Some(most), _) => (
            scale,
            scale.saturating_sub(scaled(Some(most), scale, true)).max(0),
        ),
        (None, Some(IntOrString::Int(least))) => {
            (i32::try_from(selected).unwrap_or(i32::MAX), *least)
        }
        (None, Some(least)) => (scale, scaled(Some(least), scale, true)),
        (None, None) => (0, 0),
    }
}

/// The pods that were allowed to be evicted and have not started to go, and when the first of them is to be looked at again.
pub fn disrupted(
    budget: &PodDisruptionBudget,
    selected: &[Arc<Pod>],
    now: Timestamp,
) -> (BTreeMap<String, Time>, Vec<Arc<Pod>>, Option<Timestamp>) {
    let (mut still, mut overdue, mut recheck) = (BTreeMap::new(), Vec::new(), None::<Timestamp>);
    let Some(known) = budget.status().disrupted_pods.as_ref() else {
        return (still, overdue, None);
    };
    for pod in selected.iter().filter(|pod| !pods::is_deleting(pod)) {
        let Some(time) = known.get(pod.metadata.name()) else {
            continue;
        };
        let expected = after(time.0, DELETION_TIMEOUT);
        if expected < now {
            overdue.push(pod.clone());
        } else {
            recheck = Some(recheck.map_or(expected, |r| r.min(expected)));
            still.insert(pod.metadata.name().to_string(), time.clone());
        }
    }
    (still, overdue, recheck)
}

/// The budget's status: `still` are the pods that count as gone.
pub fn status(
    budget: &PodDisruptionBudget,
    selected: &[Arc<Pod>],
    still: BTreeMap<String, Time>,
    (expected, desired): (i32, i32),
) -> PodDisruptionBudgetStatus {
    let is_healthy = |pod: &&Arc<Pod>| {
        !pods::is_deleting(pod) && !still.contains_key(pod.metadata.name()) && pods::is_ready(pod)
    };
    let healthy = i32::try_from(selected.iter().filter(is_healthy).count()).unwrap_or(i32::MAX);
    let allowed = if expected <= 0 {
        0
    } else {
        healthy.saturating_sub(desired).max(0)
    };
    PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!still.is_empty()).then_some(still),
        observed_generation: budget.metadata.generation,
        conditions: budget.status().conditions.clone(),
    }
}

/// Whether evictions are allowed, as a condition; it keeps its time while its status stays.
pub fn allow(status: &mut PodDisruptionBudgetStatus, now: Time, failure: Option<&Error>) {
    let allowed = status.disruptions_allowed > Some(0);
    let (reason, message) = match failure {
        Some(error) => ("SyncFailed", error.to_string()),
        None if allowed => ("SufficientPods", String::new()),
        None => ("InsufficientPods", String::new()),
    };
    let generation = status.observed_generation;
    let conditions = status.conditions.get_or_insert_default();
    let state = if allowed { "True" } else { "False" };
    let since = conditions
        .iter()
        .find(|c| c.type_ == ALLOWED && c.status == state)
        .map_or(now, |c| c.last_transition_time.clone());
    let new = Condition {
        type_: ALLOWED.into(),
        status: state.into(),
        reason: reason.into(),
        message,
        observed_generation: generation,
        last_transition_time: since,
    };
    match conditions.iter_mut().find(|c| c.type_ == ALLOWED) {
        Some(old) => *old = new,
        None => conditions.push(new),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::pods::tests::pod;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn how_many_may_be_evicted() {
        // pods: a letter each, ready (r), not ready (n), deleted (d), or allowed to be evicted just now (e) or long ago (o)
        let table = r#"
            a number          | {"minAvailable": 2}       | rrr  | 0 | 3 2 3 1
            too few           | {"minAvailable": 3}       | rrn  | 0 | 3 3 2 0
            a share           | {"minAvailable": "50%"}   | rrrr | 5 | 5 3 4 1
            unavailable       | {"maxUnavailable": 1}     | rrr  | 3 | 3 2 3 1
            a share of those  | {"maxUnavailable": "30%"} | rrrr | 4 | 4 2 4 2
            more than all     | {"maxUnavailable": 9}     | rr   | 2 | 2 0 2 2
            nothing to scale  | {"maxUnavailable": 1}     | rr   | 0 | 0 0 2 0
            deleted and going | {"minAvailable": 1}       | rdre | 0 | 4 1 2 1
            one that stayed   | {"minAvailable": 1}       | ro   | 0 | 2 1 2 1
            neither           | {}                        | rr   | 0 | 0 0 2 0
        "#;
        let now = Timestamp::from_second(1_000).unwrap();
        for [what, spec, letters, scale, expected] in skiff_testing::table::rows(table) {
            let spec: serde_json::Value = serde_json::from_str(spec).unwrap();
            let mut budget: PodDisruptionBudget =
                from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            let known = budget
                .status
                .get_or_insert_default()
                .disrupted_pods
                .get_or_insert_default();
            let mut selected = Vec::new();
            for (number, letter) in letters.chars().enumerate() {
                let name = format!("p{number}");
                let mut pod = pod(&name, "n", "Running", (letter != 'n').then_some(1));
                pod.metadata.deletion_timestamp = (letter == 'd').then(|| at(999));
                known.extend(match letter {
                    'e' => Some((name, at(990))),
                    'o' => Some((name, at(10))),
                    _ => None,
                });
                selected.push(Arc::new(pod));
            }
            let (still, overdue, recheck) = disrupted(&budget, &selected, now);
            assert_eq!(overdue.len(), letters.matches('o').count(), "{what}");
            assert_eq!(
                recheck.map(Timestamp::as_second),
                letters.contains('e').then_some(1_110),
                "{what}"
            );
            let wanted = wanted(budget.spec(), selected.len(), scale.parse().unwrap());
            let found = status(&budget, &selected, still, wanted);
            let numbers = [
                found.expected_pods,
                found.desired_healthy,
                found.current_healthy,
                found.disruptions_allowed,
            ];
            assert_eq!(
                numbers.map(|n| n.unwrap().to_string()).join(" "),
                expected,
                "{what}"
            );
        }
    }

    #[test]
    fn the_condition_keeps_its_time_while_its_status_stays() {
        let mut status = PodDisruptionBudgetStatus::default();
        for (allowed, second, since, reason) in [
            (1, 1, 1, "SufficientPods"),
            (1, 2, 1, "SufficientPods"),
            (0, 3, 3, "InsufficientPods"),
        ] {
            status.disruptions_allowed = Some(allowed);
            allow(&mut status, at(second), None);
            let condition = &status.conditions.as_ref().unwrap()[0];
            assert_eq!(
                (&condition.last_transition_time, &*condition.reason),
                (&at(since), reason)
            );
        }
    }
}
