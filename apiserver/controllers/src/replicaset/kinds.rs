//! What a ReplicaSet and a ReplicationController have in common.
//!
//! Invariant: the shared code never asks which of the two it has. Follows pkg/controller/replication/conversion.go.

use k8s_openapi::api::{
    apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus},
    core::v1::{
        PodTemplateSpec, ReplicationController, ReplicationControllerCondition,
        ReplicationControllerStatus,
    },
};

use super::status::Counts;
use skiff_podspec::parts::{HasSpec, HasStatus};

use crate::dependents::Selecting;

/// A kind that keeps a number of like pods.
pub trait Replicated: Selecting {
    /// The reporting component of its events.
    const COMPONENT: &'static str;
    /// Its queue's name in metrics.
    const QUEUE: &'static str;
    /// How many pods are wanted.
    fn replicas(&self) -> i32;
    /// What new pods are like.
    fn template(&self) -> Option<&PodTemplateSpec>;
    /// For how long a pod must be ready to count as available.
    fn min_ready_seconds(&self) -> i32;
    /// What its status says.
    fn counts(&self) -> Counts;
    /// Which generation its status is about.
    fn observed_generation(&self) -> i64;
    /// Writes its status.
    fn set_counts(&mut self, counts: &Counts, generation: i64);
    /// Whether its status has `terminatingReplicas`.
    const COUNTS_TERMINATING: bool;
}

/// What the two kinds say in the same words.
macro_rules! alike {
    () => {
        fn replicas(&self) -> i32 {
            self.spec().replicas.unwrap_or(1)
        }
        fn template(&self) -> Option<&PodTemplateSpec> {
            self.spec().template.as_ref()
        }
        fn min_ready_seconds(&self) -> i32 {
            self.spec().min_ready_seconds.unwrap_or(0)
        }
        fn observed_generation(&self) -> i64 {
            self.status().observed_generation.unwrap_or(0)
        }
    };
}

impl Replicated for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";
    const QUEUE: &'static str = "replicaset";
    const COUNTS_TERMINATING: bool = true;

    alike!();

    fn counts(&self) -> Counts {
        let status = self.status();
        Counts {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: status.terminating_replicas,
            conditions: status.conditions.clone().unwrap_or_default(),
        }
    }
    fn set_counts(&mut self, counts: &Counts, generation: i64) {
        self.status = Some(ReplicaSetStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: nonzero(counts.fully_labeled),
            ready_replicas: nonzero(counts.ready),
            available_replicas: nonzero(counts.available),
            terminating_replicas: counts.terminating,
            conditions: (!counts.conditions.is_empty()).then(|| counts.conditions.clone()),
            observed_generation: Some(generation),
        });
    }
}

/// A condition of one of the two kinds as the same of the other.
macro_rules! as_other {
    ($condition:expr, $other:ident) => {{
        let c = $condition.clone();
        $other {
            type_: c.type_,
            status: c.status,
            reason: c.reason,
            message: c.message,
            last_transition_time: c.last_transition_time,
        }
    }};
}

impl Replicated for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";
    const QUEUE: &'static str = "replicationmanager";
    const COUNTS_TERMINATING: bool = false;

    alike!();

    fn counts(&self) -> Counts {
        let status = self.status();
        let conditions = status.conditions.iter().flatten();
        Counts {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: None,
            conditions: conditions
                .map(|c| as_other!(c, ReplicaSetCondition))
                .collect(),
        }
    }
    fn set_counts(&mut self, counts: &Counts, generation: i64) {
        let conditions = counts.conditions.iter();
        let conditions = conditions
            .map(|c| as_other!(c, ReplicationControllerCondition))
            .collect();
        self.status = Some(ReplicationControllerStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: nonzero(counts.fully_labeled),
            ready_replicas: nonzero(counts.ready),
            available_replicas: nonzero(counts.available),
            conditions: Some(conditions).filter(|c: &Vec<_>| !c.is_empty()),
            observed_generation: Some(generation),
        });
    }
}

fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
