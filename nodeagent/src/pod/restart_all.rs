//! `RestartAllContainers`: a container that ended as one of its rules says makes all containers of the pod run anew.
//!
//! Invariant: pure; once begun it goes on until the runtime has none of the pod's containers any more.
//! Follows `ShouldAllContainersRestart` in `pkg/kubelet/container/helpers.go` and `GenerateAllContainersRestartingCondition` in
//! `pkg/kubelet/status/generate.go`.

use k8s_openapi::api::core::v1::{
    Container, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus, Pod, PodCondition,
    PodStatus,
};

use super::{
    names::{by_name, matching_rule, spec},
    told::{self, Told},
    view::PodView,
};
use crate::runtime::ContainerPhase;

pub const CONDITION: &str = "AllContainersRestarting";
const REASON: &str = "RestartingAllContainers";
const MESSAGE: &str = "The container is removed because RestartAllContainers in place";
const ACTION: &str = "RestartAllContainers";

fn all(pod: &Pod) -> impl Iterator<Item = &Container> {
    spec(pod)
        .init_containers
        .iter()
        .flatten()
        .chain(&spec(pod).containers)
}

/// Whether one of the pod's rules can ask for it.
fn is_possible(pod: &Pod) -> bool {
    all(pod).any(|container| {
        container
            .restart_policy_rules
            .iter()
            .flatten()
            .any(|rule| rule.action == ACTION)
    })
}

/// Whether the status says that it is under way.
pub fn is_on(status: &PodStatus) -> bool {
    status
        .conditions
        .iter()
        .flatten()
        .any(|condition| condition.type_ == CONDITION && condition.status == "True")
}

/// Whether it has to be done, or go on.
pub fn is_wanted(pod: &Pod, view: &PodView, old: &PodStatus) -> bool {
    if !is_possible(pod) {
        return false;
    }
    let told = by_name(
        old.init_container_statuses
            .iter()
            .flatten()
            .chain(old.container_statuses.iter().flatten()),
    );
    let asks = |container: &Container, code: i32| {
        matching_rule(container, code).is_some_and(|rule| rule.action == ACTION)
    };
    is_on(old)
        || all(pod).any(|container| {
            let now = view
                .container(&container.name)
                .filter(|state| state.phase == ContainerPhase::Exited);
            let before = told
                .get(container.name.as_str())
                .and_then(|status| status.state.terminated());
            now.is_some_and(|state| {
                asks(container, state.exit_code.unwrap_or(255))
                    || before.is_some_and(|ended| asks(container, ended.exit_code))
            })
        })
}

/// The pod's condition; none for pods without such rules.
pub fn condition(pod: &Pod, view: &PodView, old: &PodStatus, phase: &str) -> Option<PodCondition> {
    let with = |status: &str, reason: Option<&str>, message: Option<&str>| PodCondition {
        type_: CONDITION.to_owned(),
        status: status.to_owned(),
        reason: reason.map(str::to_owned),
        message: message.map(str::to_owned),
        ..Default::default()
    };
    let cleaned_up = all(pod).all(|container| view.container(&container.name).is_none());
    let condition = match phase {
        "Succeeded" => with("False", Some("PodCompleted"), None),
        "Failed" => with("False", Some("PodFailed"), None),
        _ if !is_wanted(pod, view, old) || cleaned_up => with("False", None, None),
        _ => with(
            "True",
            Some("RestartAllContainersStarted"),
            Some("container exited with restart policy rule"),
        ),
    };
    is_possible(pod).then_some(condition)
}

/// Tells of a container that was removed in order to run anew.
pub fn tell_removed(status: &mut ContainerStatus, old: &ContainerStatus) {
    let waiting = ContainerStateWaiting {
        reason: Some(REASON.to_owned()),
        message: Some(MESSAGE.to_owned()),
    };
    status.state = Some(told::waiting(waiting));
    let ended = ContainerStateTerminated {
        reason: Some(REASON.to_owned()),
        message: Some(MESSAGE.to_owned()),
        exit_code: 137,
        ..Default::default()
    };
    status.last_state = Some(told::terminated(ended));
    status.restart_count = old.restart_count + 1;
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;
    use crate::pod::view::tests::container;

    fn pod() -> Pod {
        let rules = json!([{"action": ACTION, "exitCodes": {"operator": "In", "values": [42]}}]);
        from_value(json!({"spec": {"containers": [{"name": "a", "restartPolicy": "Never", "restartPolicyRules": rules}, {"name": "b"}]}})).unwrap()
    }

    fn told(code: i32) -> PodStatus {
        from_value(json!({"containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": code}}, "ready": false, "image": "", "imageID": "", "restartCount": 0}]}))
            .unwrap()
    }

    #[test]
    fn a_rule_that_matches_begins_it_and_an_empty_runtime_ends_it() {
        let none = PodView::default();
        let ended = |code: i32| {
            let containers = vec![container("a", ContainerPhase::Exited, Some(code))];
            PodView {
                containers,
                ..Default::default()
            }
        };
        let status = |view: &PodView, old: &PodStatus| {
            condition(&pod(), view, old, "Running").unwrap().status
        };
        assert!(is_wanted(&pod(), &ended(42), &told(1)) && is_wanted(&pod(), &ended(1), &told(42)));
        assert!(!is_wanted(&pod(), &ended(1), &told(1)) && !is_wanted(&pod(), &none, &told(42)));
        assert_eq!(status(&ended(42), &told(42)), "True");
        assert_eq!(
            status(&none, &told(42)),
            "False",
            "nothing is left to be removed"
        );
        let begun: PodStatus =
            from_value(json!({"conditions": [{"type": CONDITION, "status": "True"}]})).unwrap();
        assert!(is_on(&begun) && is_wanted(&pod(), &none, &begun));
        assert_eq!(
            condition(&Pod::default(), &none, &begun, "Running"),
            None,
            "no rules, no condition"
        );
        let mut status: ContainerStatus = told(42).container_statuses.unwrap().remove(0);
        let old = status.clone();
        tell_removed(&mut status, &old);
        assert_eq!(
            (
                status.restart_count,
                status.state.unwrap().waiting.unwrap().reason.as_deref()
            ),
            (1, Some(REASON))
        );
    }
}
