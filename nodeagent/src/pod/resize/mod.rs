//! Resizing a running pod: what is told of it.
//!
//! Invariant: `PodResizePending` stands while the node does not grant what the pod asks for, `PodResizeInProgress` while what it granted is not in force.
//! Follows the resize conditions of `pkg/kubelet/status/status_manager.go` and `pkg/kubelet/events/resize.go`.

pub mod plan;

use k8s_openapi::api::core::v1::{Container, Pod, PodCondition, PodStatus, ResourceRequirements};
use serde::Serialize;
use skiff_podspec::resources::List;

use super::names::spec;
use crate::time;

pub const PENDING: &str = "PodResizePending";
pub const IN_PROGRESS: &str = "PodResizeInProgress";

/// What the pod's status says of its resize.
#[derive(Clone, Debug, Default)]
pub struct Conditions {
    pending: Option<PodCondition>,
    in_progress: Option<PodCondition>,
}

fn condition(
    type_: &str,
    old: Option<&PodCondition>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
) -> PodCondition {
    let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let fresh = PodCondition {
        type_: type_.to_owned(),
        status: "True".to_owned(),
        reason: text(reason),
        message: text(message),
        observed_generation: generation,
        last_probe_time: None,
        last_transition_time: None,
    };
    let same_reason = old.filter(|old| old.reason == fresh.reason);
    let last_transition_time = same_reason
        .and_then(|old| old.last_transition_time.clone())
        .or_else(|| Some(time::api_now()));
    let same = same_reason
        .filter(|old| old.message == fresh.message && old.observed_generation == generation);
    PodCondition {
        last_probe_time: same
            .and_then(|old| old.last_probe_time.clone())
            .or_else(|| Some(time::api_now())),
        last_transition_time,
        ..fresh
    }
}

impl Conditions {
    /// As the API has them, when the agent starts anew.
    pub fn of(status: &PodStatus) -> Self {
        let find = |type_: &str| {
            status
                .conditions
                .iter()
                .flatten()
                .find(|condition| condition.type_ == type_)
                .cloned()
        };
        Self {
            pending: find(PENDING),
            in_progress: find(IN_PROGRESS),
        }
    }

    pub fn list(&self) -> Vec<PodCondition> {
        self.pending
            .iter()
            .chain(&self.in_progress)
            .cloned()
            .collect()
    }

    pub fn pending(&self) -> Option<&PodCondition> {
        self.pending.as_ref()
    }

    /// Every reason but `Infeasible` is told as `Deferred`. Whether that, or the generation, is news.
    pub fn set_pending(&mut self, reason: &str, message: &str, generation: Option<i64>) -> bool {
        let reason = if reason == "Infeasible" {
            reason
        } else {
            "Deferred"
        };
        let fresh = condition(PENDING, self.pending.as_ref(), reason, message, generation);
        let news = self
            .pending
            .as_ref()
            .is_none_or(|old| old.reason != fresh.reason || old.observed_generation != generation);
        self.pending = Some(fresh);
        news
    }

    pub fn clear_pending(&mut self) -> bool {
        self.pending.take().is_some()
    }

    /// Keeps the generation, and a reason when none is given, of one that stands already. Answers the generation, and whether something is news.
    pub fn set_in_progress(
        &mut self,
        reason: &str,
        message: &str,
        generation: Option<i64>,
    ) -> (Option<i64>, bool) {
        let old = self.in_progress.clone();
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let (reason, message) = match &old {
            Some(old) if reason.is_empty() && message.is_empty() => {
                (text(&old.reason), text(&old.message))
            }
            _ => (reason.to_owned(), message.to_owned()),
        };
        let generation = old
            .as_ref()
            .map_or(generation, |old| old.observed_generation);
        let fresh = condition(IN_PROGRESS, old.as_ref(), &reason, &message, generation);
        let news =
            old.is_none_or(|old| (&old.reason, &old.message) != (&fresh.reason, &fresh.message));
        self.in_progress = Some(fresh);
        (generation, news)
    }

    /// The generation of the resize that is over, if one was under way.
    pub fn clear_in_progress(&mut self) -> Option<Option<i64>> {
        self.in_progress
            .take()
            .map(|condition| condition.observed_generation)
    }
}

#[derive(Serialize)]
struct Resources<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<&'a List>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests: Option<&'a List>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    resources: Resources<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    init_containers: Vec<Named<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Named<'a>>,
    generation: i64,
    #[serde(skip_serializing_if = "str::is_empty")]
    error: &'a str,
}

fn named(container: &Container) -> Named<'_> {
    let list = |of: fn(&ResourceRequirements) -> Option<&List>| {
        container
            .resources
            .as_ref()
            .and_then(of)
            .filter(|list| !list.is_empty())
    };
    let resources = Resources {
        limits: list(|resources| resources.limits.as_ref()),
        requests: list(|resources| resources.requests.as_ref()),
    };
    Named {
        name: &container.name,
        resources,
    }
}

/// An event's text: `Pod resize started: {"containers":[…],"generation":2}`.
pub fn message(what: &str, pod: &Pod, generation: Option<i64>, error: &str) -> String {
    let summary = Summary {
        init_containers: spec(pod)
            .init_containers
            .iter()
            .flatten()
            .map(named)
            .collect(),
        containers: spec(pod).containers.iter().map(named).collect(),
        generation: generation.unwrap_or(0),
        error,
    };
    match serde_json::to_string(&summary) {
        Ok(text) => format!("{what}: {text}"),
        Err(_) => what.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn what_is_told_and_when_it_is_news() {
        let mut told = Conditions::default();
        assert!(told.set_pending("OutOfcpu", "no room", Some(2)));
        assert!(
            !told.set_pending("OutOfmemory", "no room either", Some(2)),
            "deferred all the same"
        );
        assert!(told.set_pending("OutOfcpu", "no room", Some(3)));
        assert_eq!(told.pending().unwrap().reason.as_deref(), Some("Deferred"));
        assert_eq!(told.set_in_progress("", "", Some(3)), (Some(3), true));
        assert_eq!(
            told.set_in_progress("Error", "it failed", Some(4)),
            (Some(3), true),
            "the generation is that of the beginning"
        );
        assert_eq!(
            told.set_in_progress("", "", Some(5)),
            (Some(3), false),
            "an error stays until the resize is over"
        );
        assert_eq!(told.list().len(), 2);
        assert_eq!(told.clear_in_progress(), Some(Some(3)));
        assert_eq!(told.clear_in_progress(), None);
    }

    #[test]
    fn events() {
        let pod: Pod =
            from_value(json!({"spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "2"}}}, {"name": "d"}]}}))
                .unwrap();
        assert_eq!(
            message("Pod resize Deferred", &pod, Some(2), "no room"),
            r#"Pod resize Deferred: {"containers":[{"name":"c","resources":{"limits":{"cpu":"2"},"requests":{"cpu":"1"}}},{"name":"d","resources":{}}],"generation":2,"error":"no room"}"#
        );
    }
}
