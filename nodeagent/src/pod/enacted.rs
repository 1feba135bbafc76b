//! Which resources containers and pods really have, in the words of the API: what their cgroups were given, turned back into quantities.
//!
//! Invariant: pure; a value below what a cgroup can express is told as it was granted.
//! Follows `convertContainerStatusResources` and `convertToAPIPodLevelResourcesStatus` in `pkg/kubelet/kubelet_pods.go`,
//! `toKubeContainerResources` in `pkg/kubelet/kuberuntime/kuberuntime_container_linux.go` and `pkg/kubelet/cm/helpers_linux.go`.

use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, Pod, PodStatus, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};
use skiff_api::machinery::quantity::{Format, Quantity};
use skiff_podspec::resources::{List, get, read_one};

use super::{
    names::spec,
    resources::{pod_limits, pod_requests, to_api},
    told::Told,
    view::{PodView, annotation},
};
use crate::runtime::{ContainerPhase, ContainerState, Limits};

/// What a cgroup's values are worth.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Worth {
    cpu_request: Option<i64>,
    cpu_limit: Option<i64>,
    memory_limit: Option<i64>,
}

/// Shares and limits at or below these say nothing: it is what the kernel's least values are worth.
const LEAST_REQUEST: i64 = 2;
const LEAST_LIMIT: i64 = 10;

impl Worth {
    fn of(limits: &Limits) -> Self {
        let milli = |shares: u64| i64::try_from((shares * 1000).div_ceil(1024)).unwrap_or(i64::MAX);
        let period = limits
            .cpu_period_us
            .and_then(|period| i64::try_from(period).ok())
            .filter(|period| *period > 0);
        Self {
            cpu_request: limits.cpu_shares.filter(|shares| *shares >= 2).map(milli),
            cpu_limit: limits
                .cpu_quota_us
                .zip(period)
                .map(|(quota, period)| quota * 1000 / period)
                .filter(|milli| *milli > 0),
            memory_limit: limits.memory_bytes.filter(|bytes| *bytes > 0),
        }
    }
}

/// The resources that the container was given when it was started, or resized last.
pub fn of_container(state: &ContainerState) -> Option<ResourceRequirements> {
    state
        .annotations
        .get(annotation::RESOURCES)
        .and_then(|text| serde_json::from_str::<Option<ResourceRequirements>>(text).ok())
        .flatten()
}

/// The resources of its own that the pod's cgroup was given last.
pub fn of_pod(view: &PodView) -> Option<ResourceRequirements> {
    let sandbox = view.sandboxes.first()?;
    sandbox
        .spec
        .annotations
        .get(annotation::RESOURCES)
        .and_then(|text| serde_json::from_str::<Option<ResourceRequirements>>(text).ok())
        .flatten()
}

fn put(list: &mut List, name: &str, value: Quantity) {
    list.insert(name.to_owned(), ApiQuantity(value.to_string()));
}

/// Keeps what was told last where nothing is known.
fn keep(list: &mut List, name: &str, before: Option<&List>) {
    if let Some(value) = before.and_then(|before| before.get(name)) {
        list.insert(name.to_owned(), value.clone());
    }
}

/// Puts in the CPUs that the cgroup has. A value that both there and in what was granted is at most `least` stays as it was granted.
fn put_cpu(list: &mut List, worth: Option<i64>, least: i64, before: Option<&List>) {
    match worth {
        Some(cpu)
            if cpu > least
                || get(Some(list), "cpu").is_ok_and(|granted| {
                    granted.is_some_and(|granted| granted.milli_value() > least)
                }) =>
        {
            put(list, "cpu", Quantity::from_milli(cpu, Format::DecimalSi))
        }
        Some(_) => {}
        None => keep(list, "cpu", before),
    }
}

fn put_limits(limits: &mut List, worth: &Worth, before: Option<&ResourceRequirements>) {
    let before = before.and_then(|before| before.limits.as_ref());
    put_cpu(limits, worth.cpu_limit, LEAST_LIMIT, before);
    match worth.memory_limit {
        Some(bytes) => put(
            limits,
            "memory",
            Quantity::from_i64(bytes, Format::BinarySi),
        ),
        None => keep(limits, "memory", before),
    }
}

/// `status.containerStatuses[].resources`. `granted`: the container as the node has granted it; `old`: the status that was told of it last.
pub fn container_status(
    granted: &Container,
    state: &ContainerState,
    old: Option<&ContainerStatus>,
    id: &str,
) -> ResourceRequirements {
    let mut resources = granted.resources.clone().unwrap_or_default();
    if state.phase != ContainerPhase::Running {
        return resources;
    }
    let worth = Worth::of(&state.limits);
    let same =
        old.filter(|old| old.container_id.as_deref() == Some(id) && old.state.running().is_some());
    let before = same.and_then(|old| old.resources.as_ref());
    if let Some(limits) = &mut resources.limits {
        put_limits(limits, &worth, before);
    }
    if let Some(requests) = &mut resources.requests {
        let before = before.and_then(|before| before.requests.as_ref());
        put_cpu(requests, worth.cpu_request, LEAST_REQUEST, before);
        // No cgroup knows of it: what the container was given last is noted beside it.
        let given = of_container(state).and_then(|given| given.requests?.remove("memory"));
        match given.filter(|given| read_one("memory", given).is_ok_and(|value| !value.is_zero())) {
            Some(given) => _ = requests.insert("memory".to_owned(), given),
            None => keep(requests, "memory", before),
        }
    }
    resources
}

/// `status.resources` of the pod.
pub fn pod_status(pod: &Pod, view: &PodView, old: &PodStatus) -> ResourceRequirements {
    let own = spec(pod).resources.clone().unwrap_or_default();
    let running = |status: &PodStatus| status.phase.as_deref() == Some("Running");
    let sandbox = view
        .sandboxes
        .first()
        .filter(|_| pod.status.as_ref().is_some_and(running));
    let Some(sandbox) = sandbox else {
        return ResourceRequirements {
            requests: to_api(pod_requests(pod)),
            limits: to_api(pod_limits(pod)),
            claims: own.claims,
        };
    };
    let worth = Worth::of(&sandbox.spec.cgroup_limits);
    let before = old.resources.as_ref().filter(|_| running(old));
    let (mut requests, mut limits) = (
        own.requests.unwrap_or_default(),
        own.limits.unwrap_or_default(),
    );
    put_cpu(
        &mut requests,
        worth.cpu_request,
        LEAST_REQUEST,
        before.and_then(|before| before.requests.as_ref()),
    );
    if !requests.contains_key("memory")
        && let Ok(Some(memory)) = pod_requests(pod).map(|mut requests| requests.remove("memory"))
    {
        put(&mut requests, "memory", memory);
    }
    put_limits(&mut limits, &worth, before);
    let some = |list: List| (!list.is_empty()).then_some(list);
    ResourceRequirements {
        requests: some(requests),
        limits: some(limits),
        claims: own.claims,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use crate::{pod::view::tests::container, runtime::ContainerPhase};

    fn state(limits: Limits, given: Value) -> ContainerState {
        let annotations = [(annotation::RESOURCES.to_owned(), given.to_string())].into();
        ContainerState {
            limits,
            annotations,
            ..container("c", ContainerPhase::Running, None)
        }
    }

    #[test]
    fn values_of_the_cgroup_are_told_as_quantities() {
        let limits = |shares, quota, memory| Limits {
            cpu_shares: Some(shares),
            cpu_quota_us: quota,
            cpu_period_us: Some(100_000),
            memory_bytes: memory,
            ..Limits::default()
        };
        let table = [
            (
                json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "100M"}}),
                limits(102, Some(20_000), Some(100_000_000)),
                json!({"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"cpu": "200m", "memory": "100000000"}}),
            ),
            // What was granted is not yet in force.
            (
                json!({"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}),
                limits(1024, Some(100_000), None),
                json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1"}}),
            ),
            (
                json!({"requests": {"cpu": "1m"}, "limits": {"cpu": "5m"}}),
                limits(2, Some(1_000), None),
                json!({"requests": {"cpu": "1m"}, "limits": {"cpu": "5m"}}),
            ),
            (
                json!({"requests": {"memory": "1Gi"}}),
                limits(2, None, None),
                json!({"requests": {"memory": "1Gi"}}),
            ),
            (json!({}), limits(2, None, None), json!({})),
        ];
        for (granted, limits, expected) in table {
            let container: Container =
                from_value(json!({"name": "c", "resources": granted})).unwrap();
            let told = container_status(
                &container,
                &state(limits, granted.clone()),
                None,
                "skiff://i",
            );
            assert_eq!(json!(told), expected, "{granted}");
        }
    }
}
