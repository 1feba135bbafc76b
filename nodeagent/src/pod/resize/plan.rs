//! The steps from the resources that containers have to those that they were granted.
//!
//! Invariant: pure; what shrinks comes before what grows; a container whose policy asks for it is restarted instead of changed.
//! Follows `computePodResizeAction`, `computePodLevelResourcesResizeAction` and `IsPodResizeInProgress` in
//! `pkg/kubelet/kuberuntime/kuberuntime_manager.go`.

use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use skiff_podspec::{
    containers::staying,
    resources::{List, Unreadable, get},
};

use crate::{
    pod::{enacted, names::spec, resources, view::PodView},
    runtime::{ContainerPhase, ContainerState},
};

/// The resources that can change while a container runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    pub memory_limit: i64,
    pub memory_request: i64,
    /// Thousandths of a CPU, both.
    pub cpu_limit: i64,
    pub cpu_request: i64,
}

impl Sizes {
    pub fn of(resources: &ResourceRequirements) -> Result<Self, Unreadable> {
        let bytes = |list: Option<&List>| Ok(get(list, "memory")?.map_or(0, |value| value.value()));
        let milli =
            |list: Option<&List>| Ok(get(list, "cpu")?.map_or(0, |value| value.milli_value()));
        let (limits, requests) = (resources.limits.as_ref(), resources.requests.as_ref());
        Ok(Self {
            memory_limit: bytes(limits)?,
            memory_request: bytes(requests)?,
            cpu_limit: milli(limits)?,
            cpu_request: milli(requests)?,
        })
    }
}

/// A container that runs on with other resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Update {
    pub id: String,
    pub name: String,
}

/// What is to be changed while the pod runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// In this order.
    pub memory: Vec<Update>,
    pub cpu: Vec<Update>,
    /// A container is restarted with other resources: the pod's own limits have to follow.
    pub pod: bool,
    /// The pod's own resources differ.
    pub pod_level: bool,
}

impl Steps {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// What becomes of a running container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Stays,
    /// Its policy says that this resource changes by a restart.
    Restarts,
}

/// Adds the steps for one running container. There are none to what cannot be read; the node grants nothing of that kind.
pub fn container(
    pod: &Pod,
    container: &Container,
    state: &ContainerState,
    steps: &mut Steps,
) -> Fate {
    let wanted = Sizes::of(&resources::effective(pod, container));
    let (Ok(wanted), Ok(has)) = (
        wanted,
        Sizes::of(&enacted::of_container(state).unwrap_or_default()),
    ) else {
        return Fate::Stays;
    };
    let differs = |name: &str| match name {
        "memory" => {
            (wanted.memory_limit, wanted.memory_request) != (has.memory_limit, has.memory_request)
        }
        _ => (wanted.cpu_limit, wanted.cpu_request) != (has.cpu_limit, has.cpu_request),
    };
    let policies = container.resize_policy.iter().flatten();
    if policies
        .into_iter()
        .any(|policy| policy.restart_policy == "RestartContainer" && differs(&policy.resource_name))
    {
        steps.pod = true;
        return Fate::Restarts;
    }
    let update = || Update {
        id: state.id.clone(),
        name: container.name.clone(),
    };
    let mut put =
        |list: fn(&mut Steps) -> &mut Vec<Update>, (to, from): (i64, i64)| match to.cmp(&from) {
            std::cmp::Ordering::Greater => list(steps).push(update()),
            std::cmp::Ordering::Less => list(steps).insert(0, update()),
            std::cmp::Ordering::Equal => {}
        };
    // A limit decides on the order; where it stays, the request does.
    let decisive = |limits: (i64, i64), requests: (i64, i64)| {
        if limits.0 == limits.1 {
            requests
        } else {
            limits
        }
    };
    put(
        |steps| &mut steps.memory,
        decisive(
            (wanted.memory_limit, has.memory_limit),
            (wanted.memory_request, has.memory_request),
        ),
    );
    put(
        |steps| &mut steps.cpu,
        decisive(
            (wanted.cpu_limit, has.cpu_limit),
            (wanted.cpu_request, has.cpu_request),
        ),
    );
    Fate::Stays
}

/// Whether the pod's own resources differ from those that its cgroup was given.
pub fn pod_level(pod: &Pod, view: &PodView) -> bool {
    let sizes = |resources: &Option<ResourceRequirements>| {
        resources.as_ref().map_or(Ok(Sizes::default()), Sizes::of)
    };
    sizes(&spec(pod).resources) != sizes(&enacted::of_pod(view))
}

/// Whether something that runs has other resources than it was granted.
pub fn is_in_progress(pod: &Pod, view: &PodView) -> bool {
    let differs = staying(spec(pod)).any(|container| {
        let running = view
            .container(&container.name)
            .filter(|state| state.phase == ContainerPhase::Running);
        running.is_some_and(|state| {
            Sizes::of(&resources::effective(pod, container))
                != Sizes::of(&enacted::of_container(state).unwrap_or_default())
        })
    });
    differs
        || (spec(pod).resources.is_some()
            && enacted::of_pod(view).is_some()
            && pod_level(pod, view))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::pod::view::{self, annotation};

    /// `wanted` and `has` as `(cpu request, cpu limit, memory limit)`.
    fn case(name: &str, wanted: [&str; 3], has: [&str; 3], policy: Value) -> (Pod, ContainerState) {
        let resources = |[request, cpu, memory]: [&str; 3]| json!({"requests": {"cpu": request, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}});
        let pod = from_value(json!({"spec": {"containers": [{"name": name, "resources": resources(wanted), "resizePolicy": policy}]}})).unwrap();
        let annotations = [(annotation::RESOURCES.to_owned(), resources(has).to_string())].into();
        let state = ContainerState {
            annotations,
            ..view::tests::container(name, ContainerPhase::Running, None)
        };
        (pod, state)
    }

    #[test]
    fn what_shrinks_comes_first() {
        let mut steps = Steps::default();
        for (name, wanted, has) in [
            ("grows", ["2", "2", "1Gi"], ["1", "1", "1Gi"]),
            ("shrinks", ["1", "1", "1Gi"], ["2", "2", "2Gi"]),
            ("stays", ["1", "1", "1Gi"], ["1000m", "1", "1024Mi"]),
        ] {
            let (pod, state) = case(name, wanted, has, json!([]));
            assert_eq!(
                container(&pod, &spec(&pod).containers[0], &state, &mut steps),
                Fate::Stays
            );
        }
        let names = |list: &[Update]| {
            list.iter()
                .map(|update| update.name.clone())
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (names(&steps.cpu), names(&steps.memory)),
            (
                vec!["shrinks".to_owned(), "grows".to_owned()],
                vec!["shrinks".to_owned()]
            )
        );
        assert!(!steps.pod);
    }

    #[test]
    fn a_policy_can_ask_for_a_restart() {
        let policy = json!([{"resourceName": "memory", "restartPolicy": "RestartContainer"}, {"resourceName": "cpu", "restartPolicy": "NotRequired"}]);
        let table = [
            (["1", "1", "2Gi"], Fate::Restarts),
            (["2", "2", "1Gi"], Fate::Stays),
            (["1", "1", "1Gi"], Fate::Stays),
        ];
        for (wanted, fate) in table {
            let (pod, state) = case("c", wanted, ["1", "1", "1Gi"], policy.clone());
            let mut steps = Steps::default();
            assert_eq!(
                container(&pod, &spec(&pod).containers[0], &state, &mut steps),
                fate,
                "{wanted:?}"
            );
            assert_eq!(steps.pod, fate == Fate::Restarts);
        }
    }
}
