//! The conditions of a Deployment.
//!
//! Invariant: a condition that already says the same (status and reason) is left alone, times included.
//! Follows pkg/controller/deployment/util/deployment_util.go.

use k8s_openapi::{
    api::apps::v1::{DeploymentCondition, DeploymentStatus, ReplicaSetCondition},
    apimachinery::pkg::apis::meta::v1::Time,
};

pub const AVAILABLE: &str = "Available";
pub const PROGRESSING: &str = "Progressing";
pub const REPLICA_FAILURE: &str = "ReplicaFailure";

pub const TIMED_OUT: &str = "ProgressDeadlineExceeded";
pub const NEW_SET_AVAILABLE: &str = "NewReplicaSetAvailable";

/// A condition as of `now`.
pub fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: impl Into<String>,
    now: Time,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_update_time: Some(now.clone()),
        last_transition_time: Some(now),
    }
}

/// The condition of this type.
pub fn get<'a>(
    status: Option<&'a DeploymentStatus>,
    kind: &str,
) -> Option<&'a DeploymentCondition> {
    status?
        .conditions
        .iter()
        .flatten()
        .find(|c| c.type_ == kind)
}

/// Sets a condition.
pub fn set(status: &mut DeploymentStatus, mut new: DeploymentCondition) {
    if let Some(current) = get(Some(status), &new.type_) {
        if current.status == new.status && current.reason == new.reason {
            return;
        }
        if current.status == new.status {
            new.last_transition_time = current.last_transition_time.clone();
        }
    }
    remove(status, &new.type_);
    status.conditions.get_or_insert_default().push(new);
}

/// Removes the condition of this type.
pub fn remove(status: &mut DeploymentStatus, kind: &str) {
    if let Some(conditions) = &mut status.conditions {
        conditions.retain(|c| c.type_ != kind);
        if conditions.is_empty() {
            status.conditions = None;
        }
    }
}

/// A ReplicaSet's condition as one of its Deployment.
pub fn of_set(condition: &ReplicaSetCondition) -> DeploymentCondition {
    DeploymentCondition {
        type_: condition.type_.clone(),
        status: condition.status.clone(),
        reason: condition.reason.clone(),
        message: condition.message.clone(),
        last_update_time: condition.last_transition_time.clone(),
        last_transition_time: condition.last_transition_time.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn times_move_only_with_what_they_are_about() {
        let at = |s| Time(Timestamp::from_second(s).unwrap());
        let mut status = DeploymentStatus::default();
        set(&mut status, condition("T", "True", "A", "m", at(1)));
        set(&mut status, condition("T", "True", "A", "other", at(2)));
        assert_eq!(
            get(Some(&status), "T").unwrap().message.as_deref(),
            Some("m")
        );
        set(&mut status, condition("T", "True", "B", "m", at(3)));
        let now = get(Some(&status), "T").unwrap();
        assert_eq!(
            (&now.last_update_time, &now.last_transition_time),
            (&Some(at(3)), &Some(at(1)))
        );
        set(&mut status, condition("T", "False", "B", "m", at(4)));
        assert_eq!(
            get(Some(&status), "T").unwrap().last_transition_time,
            Some(at(4))
        );
    }
}
