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
use crate::{error::Error, informer::Cached, labels::Selector};

/// A kind that keeps a number of like pods.
pub trait Replicated: Cached {
    /// The reporting component of its events.
    const COMPONENT: &'static str;
    /// How many pods are wanted.
    fn replicas(&self) -> i32;
    /// Which pods may be its own.
    fn selector(&self) -> Result<Selector, Error>;
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

impl Replicated for ReplicaSet {
    const COMPONENT: &'static str = "replicaset-controller";
    const COUNTS_TERMINATING: bool = true;

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }
    fn selector(&self) -> Result<Selector, Error> {
        Selector::of(self.spec.as_ref().map(|s| &s.selector))
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec
            .as_ref()
            .and_then(|s| s.min_ready_seconds)
            .unwrap_or(0)
    }
    fn counts(&self) -> Counts {
        let status = self.status.clone().unwrap_or_default();
        Counts {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: status.terminating_replicas,
            conditions: status.conditions.unwrap_or_default(),
        }
    }
    fn observed_generation(&self) -> i64 {
        self.status
            .as_ref()
            .and_then(|s| s.observed_generation)
            .unwrap_or(0)
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

impl Replicated for ReplicationController {
    const COMPONENT: &'static str = "replication-controller";
    const COUNTS_TERMINATING: bool = false;

    fn replicas(&self) -> i32 {
        self.spec.as_ref().and_then(|s| s.replicas).unwrap_or(1)
    }
    fn selector(&self) -> Result<Selector, Error> {
        Ok(Selector::of_map(
            self.spec.as_ref().and_then(|s| s.selector.as_ref()),
        ))
    }
    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }
    fn min_ready_seconds(&self) -> i32 {
        self.spec
            .as_ref()
            .and_then(|s| s.min_ready_seconds)
            .unwrap_or(0)
    }
    fn counts(&self) -> Counts {
        let status = self.status.clone().unwrap_or_default();
        let condition = |c: ReplicationControllerCondition| ReplicaSetCondition {
            type_: c.type_,
            status: c.status,
            reason: c.reason,
            message: c.message,
            last_transition_time: c.last_transition_time,
        };
        Counts {
            replicas: status.replicas,
            fully_labeled: status.fully_labeled_replicas.unwrap_or(0),
            ready: status.ready_replicas.unwrap_or(0),
            available: status.available_replicas.unwrap_or(0),
            terminating: None,
            conditions: status
                .conditions
                .unwrap_or_default()
                .into_iter()
                .map(condition)
                .collect(),
        }
    }
    fn observed_generation(&self) -> i64 {
        self.status
            .as_ref()
            .and_then(|s| s.observed_generation)
            .unwrap_or(0)
    }
    fn set_counts(&mut self, counts: &Counts, generation: i64) {
        let condition = |c: &ReplicaSetCondition| ReplicationControllerCondition {
            type_: c.type_.clone(),
            status: c.status.clone(),
            reason: c.reason.clone(),
            message: c.message.clone(),
            last_transition_time: c.last_transition_time.clone(),
        };
        self.status = Some(ReplicationControllerStatus {
            replicas: counts.replicas,
            fully_labeled_replicas: nonzero(counts.fully_labeled),
            ready_replicas: nonzero(counts.ready),
            available_replicas: nonzero(counts.available),
            conditions: (!counts.conditions.is_empty())
                .then(|| counts.conditions.iter().map(condition).collect()),
            observed_generation: Some(generation),
        });
    }
}

fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
