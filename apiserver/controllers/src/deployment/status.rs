//! A Deployment's status, and the numbers that its strategy allows.
//!
//! Invariant: percentages of surge round up, of unavailability down, and never both to nothing.
//! Follows pkg/controller/deployment/sync.go (calculateStatus), progress.go and util/deployment_util.go.

use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, ReplicaSet},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    Pass,
    conditions::{self, AVAILABLE},
    replicasets::{Sets, actual, available, replicas as set_replicas},
};
use crate::{
    fraction::{scaled, total},
    prelude::*,
};

/// How a new template is rolled out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// A few at a time.
    RollingUpdate,
    /// First all old pods end.
    Recreate,
}

/// The Deployment's strategy.
pub fn strategy(deployment: &Deployment) -> Strategy {
    match deployment
        .spec()
        .strategy
        .as_ref()
        .and_then(|s| s.type_.as_deref())
    {
        Some("Recreate") => Strategy::Recreate,
        _ => Strategy::RollingUpdate,
    }
}

/// How many pods are wanted.
pub fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec().replicas.unwrap_or(1)
}

/// Surge and unavailability as they are written, without looking whether both are nothing.
pub fn raw_limits(deployment: &Deployment) -> (i32, i32) {
    let rolling = deployment
        .spec()
        .strategy
        .as_ref()
        .and_then(|s| s.rolling_update.as_ref());
    let total = replicas(deployment);
    (
        scaled(rolling.and_then(|r| r.max_surge.as_ref()), total, true),
        scaled(
            rolling.and_then(|r| r.max_unavailable.as_ref()),
            total,
            false,
        ),
    )
}

fn limits(deployment: &Deployment) -> (i32, i32) {
    match raw_limits(deployment) {
        (0, 0) => (0, 1),
        other => other,
    }
}

/// How many pods more than wanted there may be.
pub fn max_surge(deployment: &Deployment) -> i32 {
    if strategy(deployment) == Strategy::RollingUpdate {
        limits(deployment).0
    } else {
        0
    }
}

/// How many of the wanted pods may be missing.
pub fn max_unavailable(deployment: &Deployment) -> i32 {
    let wanted = replicas(deployment);
    if strategy(deployment) == Strategy::Recreate || wanted == 0 {
        0
    } else {
        limits(deployment).1.min(wanted)
    }
}

/// Whether a rollout can take too long.
pub fn has_deadline(deployment: &Deployment) -> bool {
    deployment
        .spec()
        .progress_deadline_seconds
        .is_some_and(|s| s != i32::MAX)
}

/// Whether all wanted pods are of the new template and available, and no others are left.
pub fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let wanted = replicas(deployment);
    status.updated_replicas.unwrap_or(0) == wanted
        && status.replicas.unwrap_or(0) == wanted
        && status.available_replicas.unwrap_or(0) == wanted
        && status.observed_generation.unwrap_or(0) >= deployment.metadata.generation.unwrap_or(0)
}

/// Whether `new` is nearer to the goal than what the Deployment's status said.
pub fn progressing(deployment: &Deployment, new: &DeploymentStatus) -> bool {
    let nothing = DeploymentStatus::default();
    let old = deployment.status.as_ref().unwrap_or(&nothing);
    let outdated = |s: &DeploymentStatus| s.replicas.unwrap_or(0) - s.updated_replicas.unwrap_or(0);
    new.updated_replicas > old.updated_replicas
        || outdated(new) < outdated(old)
        || new.ready_replicas > old.ready_replicas
        || new.available_replicas > old.available_replicas
}

fn nonzero(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}

/// The sum of the sets' terminating pods; `None` when one of them does not say.
fn terminating<'a>(sets: impl Iterator<Item = &'a ReplicaSet>) -> Option<i32> {
    let mut sum = 0;
    for set in sets {
        let status = set.status.as_ref();
        match status.and_then(|s| s.terminating_replicas) {
            Some(count) => sum = count.saturating_add(sum),
            None if status.and_then(|s| s.observed_generation).unwrap_or(0) == 0 => {}
            None => return None,
        }
    }
    Some(sum)
}

/// The numbers of the status, with the condition `Available`.
pub fn calculate(deployment: &Deployment, sets: &Sets, now: Time) -> DeploymentStatus {
    let old = deployment.status.clone().unwrap_or_default();
    let available_replicas = total(sets.all().map(available));
    let ready = total(
        sets.all()
            .map(|set| set.status().ready_replicas.unwrap_or(0)),
    );
    let wanted_by_sets = total(sets.all().map(set_replicas));
    let mut status = DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: nonzero(total(sets.all().map(actual))),
        updated_replicas: nonzero(sets.new.as_ref().map_or(0, actual)),
        ready_replicas: nonzero(ready),
        available_replicas: nonzero(available_replicas),
        unavailable_replicas: nonzero(wanted_by_sets.saturating_sub(available_replicas).max(0)),
        terminating_replicas: terminating(sets.all()),
        collision_count: old.collision_count,
        conditions: old.conditions,
    };
    let enough =
        available_replicas >= replicas(deployment).saturating_sub(max_unavailable(deployment));
    conditions::set(
        &mut status,
        if enough {
            conditions::condition(
                AVAILABLE,
                "True",
                "MinimumReplicasAvailable",
                "Deployment has minimum availability.",
                now,
            )
        } else {
            conditions::condition(
                AVAILABLE,
                "False",
                "MinimumReplicasUnavailable",
                "Deployment does not have minimum availability.",
                now,
            )
        },
    );
    status
}

impl Pass<'_> {
    /// The status as of now, without a word on progress.
    pub fn calculate(&self) -> DeploymentStatus {
        calculate(&self.deployment, &self.sets, self.controller.clock.time())
    }

    /// Writes the status if it changed.
    pub async fn write_status(&mut self, status: DeploymentStatus) -> Result<(), Error> {
        if self.deployment.status.as_ref() == Some(&status) {
            return Ok(());
        }
        self.deployment.status = Some(status);
        self.put_status().await
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use k8s_openapi::{
        api::apps::v1::{DeploymentSpec, DeploymentStrategy, RollingUpdateDeployment},
        apimachinery::pkg::util::intstr::IntOrString,
    };

    /// A rolling Deployment for tests.
    pub fn deployment(replicas: i32, surge: i32, unavailable: i32) -> Deployment {
        let rolling = RollingUpdateDeployment {
            max_surge: Some(IntOrString::Int(surge)),
            max_unavailable: Some(IntOrString::Int(unavailable)),
        };
        let strategy = DeploymentStrategy {
            type_: Some("RollingUpdate".into()),
            rolling_update: Some(rolling),
        };
        Deployment {
            spec: Some(DeploymentSpec {
                replicas: Some(replicas),
                strategy: Some(strategy),
                ..Default::default()
            }),
            ..Default::default()
        }
    }

    #[test]
    fn limits_of_a_rollout() {
        assert_eq!(max_unavailable(&deployment(4, 0, 0)), 1);
        assert_eq!(max_unavailable(&deployment(4, 0, 9)), 4);
        assert_eq!(max_surge(&deployment(4, 2, 0)), 2);
    }

    #[test]
    fn progress_is_more_new_or_fewer_old_or_more_ready() {
        let status = |replicas, updated, ready| DeploymentStatus {
            replicas: nonzero(replicas),
            updated_replicas: nonzero(updated),
            ready_replicas: nonzero(ready),
            ..Default::default()
        };
        for (old, new, expected) in [
            (status(3, 1, 3), status(3, 2, 3), true),
            (status(4, 2, 3), status(3, 2, 3), true),
            (status(3, 2, 2), status(3, 2, 3), true),
            (status(3, 2, 3), status(3, 2, 3), false),
            (status(3, 2, 3), status(3, 2, 2), false),
        ] {
            let deployment = Deployment {
                status: Some(old),
                ..Default::default()
            };
            assert_eq!(progressing(&deployment, &new), expected);
        }
    }
}
