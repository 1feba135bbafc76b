//! Rolling a new template out, and how far that has come.
//!
//! Invariant: never more pods than replicas plus surge, never fewer available than replicas minus unavailability.
//! Follows pkg/controller/deployment/rolling.go, recreate.go, progress.go and sync.go (cleanupDeployment).

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};

use super::{
    Pass,
    conditions::{self, NEW_SET_AVAILABLE, PROGRESSING, REPLICA_FAILURE, TIMED_OUT},
    replicasets::{Sets, actual, available, by_age, by_revision, replicas},
    scaling, status,
};
use crate::{
    clock::{after, until},
    fraction::total,
    pods::seconds,
    prelude::*,
};

/// What a rolling update does to the old sets in one step: new sizes, unhealthy pods first.
pub fn shrink_old(deployment: &Deployment, sets: &Sets) -> Vec<(ReplicaSet, i32)> {
    let Some(new) = &sets.new else {
        return Vec::new();
    };
    let mut old: Vec<ReplicaSet> = sets
        .old
        .iter()
        .filter(|set| replicas(set) > 0)
        .cloned()
        .collect();
    if old.is_empty() {
        return Vec::new();
    }
    old.sort_by(by_age);
    let min_available = status::replicas(deployment) - status::max_unavailable(deployment);
    let all = total(sets.all().map(replicas));
    let most = all
        .saturating_sub(min_available)
        .saturating_sub(replicas(new).saturating_sub(available(new)));
    if most <= 0 {
        return Vec::new();
    }
    let mut sizes: Vec<i32> = old.iter().map(replicas).collect();
    let mut removed = 0;
    for (set, size) in old.iter().zip(&mut sizes) {
        let unhealthy = (*size - available(set)).max(0).min(most - removed);
        *size -= unhealthy;
        removed += unhealthy;
    }
    let mut spare = total(old.iter().chain([new]).map(available)).saturating_sub(min_available);
    for size in &mut sizes {
        let fewer = (*size).min(spare.max(0));
        *size -= fewer;
        spare -= fewer;
    }
    old.into_iter()
        .zip(sizes)
        .filter(|(set, size)| replicas(set) != *size)
        .collect()
}

/// Which old sets are more than the history may keep.
pub fn too_old(deployment: &Deployment, old: &[ReplicaSet]) -> Vec<ReplicaSet> {
    let Some(limit) = deployment
        .spec()
        .revision_history_limit
        .filter(|l| *l != i32::MAX)
    else {
        return Vec::new();
    };
    let mut alive: Vec<_> = old
        .iter()
        .filter(|set| set.metadata.deletion_timestamp.is_none())
        .cloned()
        .collect();
    let excess = alive
        .len()
        .saturating_sub(usize::try_from(limit).unwrap_or(0));
    alive.sort_by(by_revision);
    alive.truncate(excess);
    let observed = |set: &ReplicaSet| {
        set.metadata.generation.unwrap_or(0) <= set.status().observed_generation.unwrap_or(0)
    };
    alive.retain(|set| actual(set) == 0 && replicas(set) == 0 && observed(set));
    alive
}

/// Whether the rollout that `new` describes has stood still for too long.
fn timed_out(deployment: &Deployment, new: &DeploymentStatus, now: Timestamp) -> bool {
    let Some(condition) =
        conditions::get(Some(new), PROGRESSING).filter(|_| status::has_deadline(deployment))
    else {
        return false;
    };
    match condition.reason.as_deref() {
        Some(NEW_SET_AVAILABLE) => false,
        Some(TIMED_OUT) => true,
        _ => deadline(deployment, condition).is_some_and(|at| at < now),
    }
}

fn deadline(deployment: &Deployment, condition: &DeploymentCondition) -> Option<Timestamp> {
    let limit = deployment.spec().progress_deadline_seconds?;
    Some(after(
        condition.last_update_time.as_ref()?.0,
        seconds(limit),
    ))
}

impl Pass<'_> {
    /// A step of a rolling update.
    pub async fn roll(&mut self) -> Result<Next, Error> {
        self.take_new_set(true).await?;
        let Some(new) = self.sets.new.clone() else {
            return Ok(Next::DONE);
        };
        let wanted = status::replicas(&self.deployment);
        let target = if replicas(&new) >= wanted {
            wanted
        } else {
            scaling::new_set_replicas(&self.deployment, &self.sets, &new)
        };
        if self.resize(&new, target, false).await? {
            return self.finish().await;
        }
        let smaller = shrink_old(&self.deployment, &self.sets);
        if !smaller.is_empty() {
            for (set, size) in smaller {
                self.resize_in_steps(&set, size).await?;
            }
            return self.finish().await;
        }
        self.clean_up_if_complete().await?;
        self.finish().await
    }

    async fn resize_in_steps(&mut self, set: &ReplicaSet, size: i32) -> Result<(), Error> {
        self.resize(set, size, false).await.map(drop)
    }

    /// A step of a rollout that ends all old pods first.
    pub async fn recreate(&mut self) -> Result<Next, Error> {
        self.take_new_set(false).await?;
        let old: Vec<_> = self
            .sets
            .old
            .iter()
            .filter(|set| replicas(set) > 0)
            .cloned()
            .collect();
        for set in &old {
            self.resize(set, 0, false).await?;
        }
        if !old.is_empty() || self.old_pods_running() {
            return self.finish().await;
        }
        if self.sets.new.is_none() {
            self.take_new_set(true).await?;
        }
        if let Some(new) = self.sets.new.clone() {
            self.resize(&new, status::replicas(&self.deployment), false)
                .await?;
        }
        self.clean_up_if_complete().await?;
        self.finish().await
    }

    async fn clean_up_if_complete(&mut self) -> Result<(), Error> {
        let complete = self
            .deployment
            .status
            .as_ref()
            .is_some_and(|s| status::complete(&self.deployment, s));
        if complete {
            self.clean_up().await
        } else {
            Ok(())
        }
    }

    /// Deletes the sets that the history need not keep.
    pub async fn clean_up(&mut self) -> Result<(), Error> {
        for set in too_old(&self.deployment, &self.sets.old) {
            self.controller
                .api
                .remove::<ReplicaSet>(&Key::of(&set.metadata))
                .await?;
        }
        Ok(())
    }

    /// Notes on the Deployment that it is paused, or no longer.
    pub async fn check_paused(&mut self) -> Result<(), Error> {
        if !status::has_deadline(&self.deployment) {
            return Ok(());
        }
        let reason = conditions::get(self.deployment.status.as_ref(), PROGRESSING)
            .and_then(|c| c.reason.as_deref());
        match (self.paused(), reason) {
            (_, Some(TIMED_OUT)) | (true, Some("DeploymentPaused")) => return Ok(()),
            (true, _) => {
                self.set_condition("Unknown", "DeploymentPaused", "Deployment is paused".into())
            }
            (false, Some("DeploymentPaused")) => self.set_condition(
                "Unknown",
                "DeploymentResumed",
                "Deployment is resumed".into(),
            ),
            (false, _) => return Ok(()),
        }
        self.put_status().await
    }

    /// Writes the status with its word on progress, and says when to look again.
    async fn finish(&mut self) -> Result<Next, Error> {
        let mut new = self.calculate();
        self.judge_progress(&mut new);
        match self.replica_failure() {
            Some(condition) => conditions::set(&mut new, condition),
            None => conditions::remove(&mut new, REPLICA_FAILURE),
        }
        if self.deployment.status.as_ref() == Some(&new) {
            return Ok(Next::maybe_after(self.next_check(&new)));
        }
        self.write_status(new).await?;
        Ok(Next::DONE)
    }

    fn judge_progress(&self, new: &mut DeploymentStatus) {
        let deployment = &self.deployment;
        if !status::has_deadline(deployment) {
            return conditions::remove(new, PROGRESSING);
        }
        let current = conditions::get(deployment.status.as_ref(), PROGRESSING);
        let settled = current.is_some_and(|c| c.reason.as_deref() == Some(NEW_SET_AVAILABLE));
        if settled && new.replicas == new.updated_replicas {
            return;
        }
        let who = match &self.sets.new {
            Some(set) => format!("ReplicaSet \"{}\"", set.metadata.name()),
            None => format!("Deployment \"{}\"", deployment.metadata.name()),
        };
        let now = self.controller.clock.now();
        let condition = |status, reason, what: &str| {
            conditions::condition(
                PROGRESSING,
                status,
                reason,
                format!("{who} {what}"),
                self.controller.clock.time(),
            )
        };
        if status::complete(deployment, new) {
            conditions::set(
                new,
                condition("True", NEW_SET_AVAILABLE, "has successfully progressed."),
            );
        } else if status::progressing(deployment, new) {
            let mut condition = condition("True", "ReplicaSetUpdated", "is progressing.");
            if let Some(current) = current {
                if current.status == "True" {
                    condition.last_transition_time = current.last_transition_time.clone();
                }
                conditions::remove(new, PROGRESSING);
            }
            conditions::set(new, condition);
        } else if timed_out(deployment, new, now) {
            conditions::set(
                new,
                condition("False", TIMED_OUT, "has timed out progressing."),
            );
        }
    }

    /// What keeps a set from having its pods; the new set's trouble first.
    fn replica_failure(&self) -> Option<DeploymentCondition> {
        let trouble = |set: &ReplicaSet| {
            set.status()
                .conditions
                .as_ref()?
                .iter()
                .find(|c| c.type_ == REPLICA_FAILURE)
                .map(conditions::of_set)
        };
        self.sets.new.iter().chain(&self.sets.old).find_map(trouble)
    }

    /// When a rollout that stands still has to be looked at again.
    fn next_check(&self, new: &DeploymentStatus) -> Option<Duration> {
        let condition = conditions::get(self.deployment.status.as_ref(), PROGRESSING)?;
        if !status::has_deadline(&self.deployment)
            || status::complete(&self.deployment, new)
            || condition.reason.as_deref() == Some(TIMED_OUT)
        {
            return None;
        }
        let left = until(
            self.controller.clock.now(),
            deadline(&self.deployment, condition)?,
        );
        Some(left + Duration::from_secs(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deployment::{replicasets::tests::set, status::tests::deployment};

    #[test]
    fn old_sets_shrink_as_far_as_availability_allows() {
        let case = |wanted, unavailable, new: (i32, i32), old: &[(i32, i32)]| {
            let old: Vec<_> = (1..)
                .zip(old)
                .map(|(i, (size, available))| set(&format!("old{i}"), i, *size, *available))
                .collect();
            let sets = Sets {
                new: Some(set("new", 9, new.0, new.1)),
                old,
            };
            shrink_old(&deployment(wanted, 1, unavailable), &sets)
                .into_iter()
                .map(|(s, n)| (s.metadata.name.unwrap(), n))
                .collect::<Vec<_>>()
        };
        assert_eq!(case(3, 0, (1, 0), &[(3, 3)]), []);
        assert_eq!(case(3, 0, (1, 1), &[(3, 3)]), [("old1".into(), 2)]);
        assert_eq!(case(3, 1, (1, 0), &[(3, 3)]), [("old1".into(), 2)]);
        assert_eq!(
            case(10, 0, (1, 0), &[(5, 0), (5, 5)]),
            [],
            "unhealthy ones stay while availability is short"
        );
        assert_eq!(
            case(4, 2, (2, 2), &[(2, 0), (2, 2)]),
            [("old1".into(), 0), ("old2".into(), 0)]
        );
    }

    #[test]
    fn history_keeps_the_newest_and_what_still_has_pods() {
        let mut limited = deployment(1, 1, 0);
        limited.spec.as_mut().unwrap().revision_history_limit = Some(1);
        let old = [set("a", 1, 0, 0), set("b", 2, 1, 1), set("c", 3, 0, 0)];
        let names: Vec<_> = too_old(&limited, &old)
            .into_iter()
            .map(|s| s.metadata.name.unwrap())
            .collect();
        assert_eq!(names, ["a"]);
        assert!(too_old(&deployment(1, 1, 0), &old).is_empty());
    }
}
