//! The status of a ReplicaSet or ReplicationController, from its pods.
//!
//! Invariant: a failure to create or delete stands as a condition until a pass goes well.
//! Follows pkg/controller/replicaset/replica_set_utils.go.

use std::sync::Arc;

use jiff::Timestamp;
use k8s_openapi::{api::apps::v1::ReplicaSetCondition, apimachinery::pkg::apis::meta::v1::Time};
use skiff_podspec::pod::Pod;

use super::Replicated;
use crate::{clock::whole_seconds, error::Error, pods};

const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The numbers and conditions of a status.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Counts {
    /// Active pods.
    pub replicas: i32,
    /// Those that have all labels of the template.
    pub fully_labeled: i32,
    /// Those that are ready.
    pub ready: i32,
    /// Those that have been ready for long enough.
    pub available: i32,
    /// Those that are being deleted; not every kind counts them.
    pub terminating: Option<i32>,
    /// `ReplicaFailure`, and whatever else was there.
    pub conditions: Vec<ReplicaSetCondition>,
}

/// Counts `active` pods for the status of `set`.
pub fn counts<K: Replicated>(
    set: &K,
    active: &[Arc<Pod>],
    terminating: i32,
    failure: Option<&Error>,
    now: Timestamp,
) -> Counts {
    let labels = skiff_podspec::selector::of_map(Some(
        &set.template()
            .and_then(|t| t.metadata.as_ref())
            .and_then(|m| m.labels.clone())
            .unwrap_or_default(),
    ));
    let count = |test: &dyn Fn(&Pod) -> bool| {
        i32::try_from(active.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
    };
    let mut conditions = set.counts().conditions;
    let failing = conditions.iter().any(|c| c.type_ == REPLICA_FAILURE);
    match failure {
        Some(error) if !failing => {
            let missing = active.len() < usize::try_from(set.replicas()).unwrap_or(0);
            conditions.push(ReplicaSetCondition {
                type_: REPLICA_FAILURE.into(),
                status: "True".into(),
                reason: Some(
                    if missing {
                        "FailedCreate"
                    } else {
                        "FailedDelete"
                    }
                    .into(),
                ),
                message: Some(error.to_string()),
                last_transition_time: Some(Time(whole_seconds(now))),
            });
        }
        None if failing => conditions.retain(|c| c.type_ != REPLICA_FAILURE),
        _ => {}
    }
    Counts {
        replicas: count(&|_| true),
        fully_labeled: count(&|pod| labels.matches(&pod.metadata.labels.as_ref())),
        ready: count(&pods::is_ready),
        available: count(&|pod| pods::is_available(pod, set.min_ready_seconds(), now)),
        terminating: K::COUNTS_TERMINATING.then_some(terminating),
        conditions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod;
    use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetSpec};

    #[test]
    fn counting_and_the_failure_condition() {
        let mut set = ReplicaSet {
            spec: Some(ReplicaSetSpec {
                replicas: Some(3),
                min_ready_seconds: Some(10),
                ..Default::default()
            }),
            ..Default::default()
        };
        let now = Timestamp::from_second(100).unwrap();
        let active: Vec<_> = [
            pod("a", "n", "Running", Some(90)),
            pod("b", "n", "Running", Some(95)),
            pod("c", "n", "Running", None),
        ]
        .map(Arc::new)
        .into();
        let got = counts(
            &set,
            &active[..2],
            1,
            Some(&Error::Failed("no".into())),
            now,
        );
        assert_eq!(
            (got.replicas, got.ready, got.available, got.terminating),
            (2, 2, 1, Some(1))
        );
        assert_eq!(got.conditions[0].reason.as_deref(), Some("FailedCreate"));
        set.set_counts(&got, 1);
        assert!(counts(&set, &active, 0, None, now).conditions.is_empty());
    }
}
