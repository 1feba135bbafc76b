//! Requests and limits: the pod's sums, its QoS class, and the cgroup values and OOM scores that follow from them.
//!
//! Invariant: pure; units are milli-CPUs and bytes.
//! Follows `pkg/apis/core/v1/helper/qos`, `pkg/kubelet/qos/policy.go`, `pkg/kubelet/cm/helpers_linux.go` and
//! `staging/src/k8s.io/component-helpers/resource/helpers.go`.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};
use skiff_api::machinery::quantity::Quantity;

use super::names::{self, spec};
use crate::runtime::Limits;

pub type List = BTreeMap<String, ApiQuantity>;

/// Parses what the API has validated; an unreadable quantity counts as nothing, because the API cannot have let it in.
pub fn quantity(text: &ApiQuantity) -> Option<Quantity> {
    text.0.parse().ok()
}

fn of(list: Option<&List>, name: &str) -> Option<Quantity> {
    list.and_then(|list| list.get(name)).and_then(quantity)
}

fn requests(container: &Container) -> Option<&List> {
    container.resources.as_ref().and_then(|resources| resources.requests.as_ref())
}

fn limits(container: &Container) -> Option<&List> {
    container.resources.as_ref().and_then(|resources| resources.limits.as_ref())
}

type Sum = BTreeMap<String, Quantity>;

fn add(sum: &mut Sum, list: Option<&List>) {
    for (name, value) in list.into_iter().flatten().filter_map(|(name, value)| Some((name, quantity(value)?))) {
        match sum.get_mut(name) {
            Some(total) => total.add(&value),
            None => _ = sum.insert(name.clone(), value),
        }
    }
}

fn add_sum(sum: &mut Sum, other: &Sum) {
    for (name, value) in other {
        match sum.get_mut(name) {
            Some(total) => total.add(value),
            None => _ = sum.insert(name.clone(), value.clone()),
        }
    }
}

fn largest(sum: &mut Sum, other: Sum) {
    for (name, value) in other {
        match sum.get(&name) {
            Some(have) if *have >= value => {}
            _ => _ = sum.insert(name, value),
        }
    }
}

fn total(pod: &Pod, list_of: fn(&Container) -> Option<&List>, of_pod: fn(&ResourceRequirements) -> Option<&List>) -> Sum {
    let spec = spec(pod);
    let mut sum = Sum::new();
    spec.containers.iter().for_each(|container| add(&mut sum, list_of(container)));
    let (mut sidecars, mut initial) = (Sum::new(), Sum::new());
    for container in spec.init_containers.iter().flatten() {
        let mut needs = Sum::new();
        add(&mut needs, list_of(container));
        if names::is_restartable_init(container) {
            add_sum(&mut sum, &needs);
            add_sum(&mut sidecars, &needs);
            needs = sidecars.clone();
        } else {
            add_sum(&mut needs, &sidecars);
        }
        largest(&mut initial, needs);
    }
    largest(&mut sum, initial);
    for (name, value) in spec.resources.as_ref().and_then(of_pod).into_iter().flatten() {
        if let Some(value) = quantity(value) {
            sum.insert(name.clone(), value);
        }
    }
    sum
}

/// What the pod asks for in all: `PodRequests`, overhead included.
pub fn pod_requests(pod: &Pod) -> BTreeMap<String, Quantity> {
    let mut sum = total(pod, requests, |resources| resources.requests.as_ref());
    add(&mut sum, spec(pod).overhead.as_ref());
    sum
}

/// What the pod may use at most: `PodLimits`; overhead is added only to what has a limit.
pub fn pod_limits(pod: &Pod) -> BTreeMap<String, Quantity> {
    let mut sum = total(pod, limits, |resources| resources.limits.as_ref());
    for (name, value) in spec(pod).overhead.iter().flatten() {
        if let (Some(limit), Some(value)) = (sum.get_mut(name), quantity(value)) {
            limit.add(&value);
        }
    }
    sum
}

/// The same list as the API writes it.
pub fn to_api(list: BTreeMap<String, Quantity>) -> Option<List> {
    (!list.is_empty()).then(|| list.into_iter().map(|(name, value)| (name, ApiQuantity(value.to_string()))).collect())
}

/// What the container gets: its own resources, with the pod's limits where it has none.
pub fn effective(pod: &Pod, container: &Container) -> ResourceRequirements {
    let mut resources = container.resources.clone().unwrap_or_default();
    let of_pod = spec(pod).resources.as_ref().and_then(|resources| resources.limits.as_ref());
    for (name, limit) in of_pod.into_iter().flatten().filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")) {
        let own = resources.limits.get_or_insert_default();
        if of(Some(own), name).is_none_or(|own| own.is_zero()) {
            own.insert(name.clone(), limit.clone());
        }
    }
    resources
}

/// As it is noted beside what it was given to.
pub fn resources_text(resources: &Option<ResourceRequirements>) -> String {
    serde_json::to_string(resources).unwrap_or_default()
}

/// `Guaranteed`, `Burstable` or `BestEffort`.
pub fn qos(pod: &Pod) -> &'static str {
    const COUNTED: [&str; 2] = ["cpu", "memory"];
    let spec = spec(pod);
    if let Some(resources) = spec.resources.as_ref().filter(|resources| resources.requests.is_some() || resources.limits.is_some()) {
        return class([(resources.requests.as_ref(), resources.limits.as_ref())].into_iter(), &COUNTED);
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    class(containers.map(|container| (requests(container), limits(container))), &COUNTED)
}

fn class<'a>(lists: impl Iterator<Item = (Option<&'a List>, Option<&'a List>)>, counted: &[&str]) -> &'static str {
    let (mut any, mut guaranteed) = (false, true);
    for (requests, limits) in lists {
        for name in counted {
            let positive = |list| of(list, name).filter(|value| value.sign() > 0);
            let (request, limit) = (positive(requests), positive(limits));
            any |= request.is_some() || limit.is_some();
            guaranteed &= limit.is_some() && request.as_ref().is_none_or(|request| Some(request) == limit.as_ref());
        }
    }
    match (any, guaranteed) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

const PERIOD_US: u64 = 100_000;

/// cpu.shares of so many milli-CPUs.
pub fn shares(milli: i64) -> u64 {
    u64::try_from(milli * 1024 / 1000).unwrap_or(0).clamp(2, 262_144)
}

/// The CFS quota of a limit of so many milli-CPUs; none when there is no limit.
pub fn quota(milli: i64) -> Option<i64> {
    (milli > 0).then(|| (milli * PERIOD_US as i64 / 1000).max(1000))
}

/// The cgroup values of one container.
pub fn container_limits(pod: &Pod, container: &Container, node_memory: i64) -> Limits {
    let own = |name| of(limits(container), name).filter(|limit| !limit.is_zero());
    let of_pod = |name| of(spec(pod).resources.as_ref().and_then(|resources| resources.limits.as_ref()), name);
    let cpu_limit = own("cpu").or_else(|| of_pod("cpu")).map_or(0, |limit| limit.milli_value());
    let cpu = of(requests(container), "cpu").map_or(cpu_limit, |request| request.milli_value());
    let quota = quota(cpu_limit);
    Limits {
        cpu_shares: Some(shares(cpu)),
        cpu_quota_us: quota,
        cpu_period_us: quota.map(|_| PERIOD_US),
        memory_bytes: own("memory").or_else(|| of_pod("memory")).map(|limit| limit.value()).filter(|limit| *limit > 0),
        pids: None,
        oom_score_adj: Some(oom_score_adj(pod, container, node_memory)),
    }
}

/// The cgroup values of the pod as a whole.
pub fn pod_cgroup_limits(pod: &Pod) -> Limits {
    let class = qos(pod);
    if class == "BestEffort" {
        return Limits { cpu_shares: Some(2), ..Default::default() };
    }
    let spec = spec(pod);
    let limits_sum = pod_limits(pod);
    let all_have = |name: &str| {
        let whole = of(spec.resources.as_ref().and_then(|resources| resources.limits.as_ref()), name).is_some();
        let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
        whole || containers.into_iter().all(|container| of(limits(container), name).is_some_and(|limit| !limit.is_zero()))
    };
    let quota = limits_sum.get("cpu").filter(|_| all_have("cpu")).and_then(|limit| quota(limit.milli_value()));
    Limits {
        cpu_shares: Some(shares(pod_requests(pod).get("cpu").map_or(0, |request| request.milli_value()))),
        cpu_quota_us: quota,
        cpu_period_us: quota.map(|_| PERIOD_US),
        memory_bytes: limits_sum.get("memory").filter(|_| all_have("memory")).map(|limit| limit.value()),
        pids: None,
        oom_score_adj: None,
    }
}

/// The pod's cgroup below the runtime's root.
pub fn cgroup(pod: &Pod) -> String {
    let uid = names::uid(pod);
    match qos(pod) {
        "Guaranteed" => format!("pod{uid}"),
        class => format!("{}/pod{uid}", class.to_ascii_lowercase()),
    }
}

const GUARANTEED: i64 = -997;

/// How readily the kernel kills the container's processes when memory runs out. `node_memory`: bytes that the node has.
pub fn oom_score_adj(pod: &Pod, container: &Container, node_memory: i64) -> i32 {
    let priority = spec(pod).priority.unwrap_or(0);
    let class = qos(pod);
    let adjusted = match class {
        _ if priority >= 2_000_001_000 => GUARANTEED,
        "Guaranteed" => GUARANTEED,
        "BestEffort" => 1000,
        _ => burstable(pod, container, node_memory.max(1)),
    };
    i32::try_from(adjusted).unwrap_or(1000)
}

fn memory_request(container: &Container) -> i64 {
    of(requests(container), "memory").map_or(0, |request| request.value())
}

fn burstable(pod: &Pod, container: &Container, node_memory: i64) -> i64 {
    let score = |bytes: i64| 1000 - (i128::from(bytes) * 1000 / i128::from(node_memory)) as i64;
    let spec = spec(pod);
    let of_pod = of(spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()), "memory");
    let extra = of_pod.map_or(0, |all| {
        let counted: Vec<_> = spec.containers.iter().chain(spec.init_containers.iter().flatten().filter(|c| names::is_restartable_init(c))).collect();
        let asked: i64 = counted.iter().map(|container| memory_request(container)).sum();
        ((all.value() - asked) / i64::try_from(counted.len()).unwrap_or(1).max(1)).max(0)
    });
    let mut adjusted = score(memory_request(container) + extra);
    if names::is_restartable_init(container) {
        let least = spec.containers.iter().map(memory_request).min().unwrap_or(0);
        adjusted = adjusted.min(score(least + extra));
    }
    adjusted.clamp(1000 + GUARANTEED, 999)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn pod(resources: &[serde_json::Value]) -> Pod {
        let containers: Vec<_> = resources.iter().enumerate().map(|(i, r)| json!({"name": format!("c{i}"), "resources": r})).collect();
        from_value(json!({"metadata": {"uid": "u"}, "spec": {"containers": containers}})).unwrap()
    }

    #[test]
    fn classes() {
        let full = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}});
        assert_eq!(qos(&pod(&[json!({})])), "BestEffort");
        assert_eq!(qos(&pod(std::slice::from_ref(&full))), "Guaranteed");
        assert_eq!(qos(&pod(&[full, json!({})])), "Burstable");
        assert_eq!(qos(&pod(&[json!({"requests": {"cpu": "0"}})])), "BestEffort");
        assert_eq!(cgroup(&pod(&[json!({"requests": {"cpu": "1"}})])), "burstable/podu");
    }

    #[test]
    fn oom_scores() {
        let gib = 1 << 30;
        let cases = [
            (json!({}), 1000),
            (json!({"requests": {"memory": "1Gi"}}), 900),
            (json!({"requests": {"memory": "1"}}), 999),
            (json!({"requests": {"memory": "10Gi"}}), 3),
        ];
        for (resources, expected) in cases {
            let pod = pod(&[resources]);
            assert_eq!(oom_score_adj(&pod, &spec(&pod).containers[0], 10 * gib), expected);
        }
    }

    #[test]
    fn cgroup_values() {
        let pod = pod(&[json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "64Mi"}})]);
        let limits = container_limits(&pod, &spec(&pod).containers[0], 1 << 33);
        assert_eq!((limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes), (Some(102), Some(50_000), Some(64 << 20)));
        assert_eq!((quota(5), quota(0), shares(0)), (Some(1000), None, 2));
    }

    #[test]
    fn init_containers_count_by_their_peak() {
        let pod: Pod = from_value(json!({"spec": {
            "initContainers": [
                {"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}},
                {"name": "i", "resources": {"requests": {"cpu": "5"}}}],
            "containers": [{"name": "c", "resources": {"requests": {"cpu": "2"}}}]}}))
        .unwrap();
        assert_eq!(pod_requests(&pod)["cpu"].to_string(), "6");
    }
}
