//! The status of an autoscaler.
//!
//! Follows pkg/controller/podautoscaler/horizontal.go (setStatus, setConditionInList).

use k8s_openapi::{
    api::autoscaling::v2::{
        HorizontalPodAutoscaler, HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus,
        MetricStatus,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

/// Its status, made when there is none.
pub fn status(autoscaler: &mut HorizontalPodAutoscaler) -> &mut HorizontalPodAutoscalerStatus {
    autoscaler.status.get_or_insert_default()
}

/// Sets a condition; its time changes with its status only.
pub fn set(
    status: &mut HorizontalPodAutoscalerStatus,
    kind: &str,
    state: &str,
    reason: &str,
    message: &str,
    now: Time,
) {
    let conditions = status.conditions.get_or_insert_default();
    let condition = match conditions
        .iter_mut()
        .position(|condition| condition.type_ == kind)
    {
        Some(at) => &mut conditions[at],
        None => {
            conditions.push(HorizontalPodAutoscalerCondition {
                type_: kind.into(),
                ..Default::default()
            });
            let last = conditions.len() - 1;
            &mut conditions[last]
        }
    };
    if condition.status != state {
        condition.last_transition_time = Some(now);
    }
    (condition.status, condition.reason, condition.message) =
        (state.into(), Some(reason.into()), Some(message.into()));
}

/// Fills in the numbers; what is desired and when was scaled last stand where nothing is given.
pub fn fill(
    status: &mut HorizontalPodAutoscalerStatus,
    current: i32,
    desired: Option<i32>,
    metrics: Option<Vec<MetricStatus>>,
    scaled: Option<Time>,
) {
    status.current_replicas = Some(current);
    status.desired_replicas = desired.unwrap_or(status.desired_replicas);
    status.current_metrics = metrics.filter(|metrics| !metrics.is_empty());
    status.last_scale_time = scaled.or(status.last_scale_time.take());
    status.observed_generation = None;
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn conditions_keep_their_time_while_their_status_stays() {
        let at = |second| Time(Timestamp::from_second(second).unwrap());
        let mut status = HorizontalPodAutoscalerStatus::default();
        set(&mut status, "AbleToScale", "True", "A", "a", at(1));
        set(&mut status, "AbleToScale", "True", "B", "b", at(2));
        let found =
            |status: &HorizontalPodAutoscalerStatus| status.conditions.as_ref().unwrap()[0].clone();
        assert_eq!(
            (
                found(&status).last_transition_time,
                found(&status).reason.as_deref()
            ),
            (Some(at(1)), Some("B"))
        );
        set(&mut status, "AbleToScale", "False", "C", "c", at(3));
        assert_eq!(found(&status).last_transition_time, Some(at(3)));
    }
}
