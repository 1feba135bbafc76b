//! The cgroup values and OOM scores that follow from what a pod's containers, and the pod as a whole, ask for and may use.
//!
//! Invariant: pure; units are milli-CPUs and bytes; what cannot be read is an error.
//! Follows `pkg/kubelet/qos/policy.go` and `pkg/kubelet/cm/helpers_linux.go`.

use k8s_openapi::{
    api::core::v1::{Container, Pod, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};
use skiff_api::machinery::quantity::Quantity;
use skiff_podspec::{
    containers,
    qos::{Class, class},
    resources::{self as podspec, Amounts, List, Options, Status, Unreadable, get},
};

use super::names::{self, spec};
use crate::runtime::Limits;

fn requests(container: &Container) -> Option<&List> {
    container
        .resources
        .as_ref()
        .and_then(|resources| resources.requests.as_ref())
}

fn limits(container: &Container) -> Option<&List> {
    container
        .resources
        .as_ref()
        .and_then(|resources| resources.limits.as_ref())
}

/// The limits of the pod as a whole.
fn whole_limits(pod: &Pod) -> Option<&List> {
    spec(pod)
        .resources
        .as_ref()
        .and_then(|resources| resources.limits.as_ref())
}

/// What the pod asks for in all, as it was granted.
pub fn pod_requests(pod: &Pod) -> Result<Amounts, Unreadable> {
    podspec::requests(pod, Options::default())
}

/// What the pod may use at most, as it was granted.
pub fn pod_limits(pod: &Pod) -> Result<Amounts, Unreadable> {
    podspec::limits(pod, Status::Ignored)
}

/// The same list as the API writes it. What cannot be read is not told.
pub fn to_api(amounts: Result<Amounts, Unreadable>) -> Option<List> {
    let list: List = amounts
        .ok()?
        .into_iter()
        .map(|(name, value)| (name, ApiQuantity(value.to_string())))
        .collect();
    (!list.is_empty()).then_some(list)
}

/// What the container gets: its own resources, with the pod's limits where it has none.
pub fn effective(pod: &Pod, container: &Container) -> ResourceRequirements {
    let mut resources = container.resources.clone().unwrap_or_default();
    for (name, limit) in whole_limits(pod)
        .into_iter()
        .flatten()
        .filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory"))
    {
        let own = resources.limits.get_or_insert_default();
        if get(Some(own), name).is_ok_and(|own| own.is_none_or(|own| own.is_zero())) {
            own.insert(name.clone(), limit.clone());
        }
    }
    resources
}

/// As it is noted beside what it was given to.
pub fn resources_text(resources: &Option<ResourceRequirements>) -> String {
    serde_json::to_string(resources).unwrap_or_default()
}

const PERIOD_US: u64 = 100_000;

/// cpu.shares of so many milli-CPUs.
pub fn shares(milli: i64) -> u64 {
    u64::try_from(milli * 1024 / 1000)
        .unwrap_or(0)
        .clamp(2, 262_144)
}

/// The CFS quota of a limit of so many milli-CPUs; none when there is no limit.
pub fn quota(milli: i64) -> Option<i64> {
    (milli > 0).then(|| (milli * PERIOD_US as i64 / 1000).max(1000))
}

/// The cgroup values of one container.
pub fn container_limits(
    pod: &Pod,
    container: &Container,
    node_memory: i64,
) -> Result<Limits, Unreadable> {
    let limit = |name| -> Result<_, Unreadable> {
        let own = get(limits(container), name)?.filter(|limit| !limit.is_zero());
        own.map_or_else(|| get(whole_limits(pod), name), |own| Ok(Some(own)))
    };
    let cpu_limit = limit("cpu")?.map_or(0, |limit| limit.milli_value());
    let cpu = get(requests(container), "cpu")?.map_or(cpu_limit, |request| request.milli_value());
    let quota = quota(cpu_limit);
    Ok(Limits {
        cpu_shares: Some(shares(cpu)),
        cpu_quota_us: quota,
        cpu_period_us: quota.map(|_| PERIOD_US),
        memory_bytes: limit("memory")?
            .map(|limit| limit.value())
            .filter(|limit| *limit > 0),
        pids: None,
        oom_score_adj: Some(oom_score_adj(pod, container, node_memory)?),
    })
}

/// Whether the pod as a whole is limited: it is itself, or all of its containers are; an init container is by the sidecars before it, too.
fn is_limited(pod: &Pod, name: &str) -> Result<bool, Unreadable> {
    let limit = |list| -> Result<_, Unreadable> { Ok(get(list, name)?.unwrap_or_default()) };
    if !limit(whole_limits(pod))?.is_zero() {
        return Ok(true);
    }
    let mut beside = Quantity::default();
    for container in spec(pod).init_containers.iter().flatten() {
        let mut own = limit(limits(container))?;
        own.add(&beside);
        if own.is_zero() {
            return Ok(false);
        }
        if containers::is_sidecar(container) {
            beside = own;
        }
    }
    for container in &spec(pod).containers {
        if limit(limits(container))?.is_zero() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The cgroup values of the pod as a whole.
pub fn pod_cgroup_limits(pod: &Pod) -> Result<Limits, Unreadable> {
    if class(pod)? == Class::BestEffort {
        return Ok(Limits {
            cpu_shares: Some(2),
            ..Default::default()
        });
    }
    let limits = pod_limits(pod)?;
    let limit = |name: &str| -> Result<_, Unreadable> {
        Ok(if is_limited(pod, name)? {
            limits.get(name)
        } else {
            None
        })
    };
    let quota = limit("cpu")?.and_then(|limit| quota(limit.milli_value()));
    Ok(Limits {
        cpu_shares: Some(shares(
            pod_requests(pod)?
                .get("cpu")
                .map_or(0, |request| request.milli_value()),
        )),
        cpu_quota_us: quota,
        cpu_period_us: quota.map(|_| PERIOD_US),
        memory_bytes: limit("memory")?.map(|limit| limit.value()),
        pids: None,
        oom_score_adj: None,
    })
}

/// The pod's cgroup below the runtime's root.
pub fn cgroup(pod: &Pod) -> Result<String, Unreadable> {
    let uid = names::uid(pod);
    Ok(match class(pod)? {
        Class::Guaranteed => format!("pod{uid}"),
        class => format!("{}/pod{uid}", class.name().to_ascii_lowercase()),
    })
}

const GUARANTEED: i64 = -997;

/// How readily the kernel kills the container's processes when memory runs out. `node_memory`: bytes that the node has.
pub fn oom_score_adj(
    pod: &Pod,
    container: &Container,
    node_memory: i64,
) -> Result<i32, Unreadable> {
    let priority = spec(pod).priority.unwrap_or(0);
    let adjusted = match class(pod)? {
        _ if priority >= 2_000_001_000 => GUARANTEED,
        Class::Guaranteed => GUARANTEED,
        Class::BestEffort => 1000,
        Class::Burstable => burstable(pod, container, node_memory.max(1))?,
    };
    Ok(i32::try_from(adjusted).unwrap_or(1000))
}

fn memory_request(container: &Container) -> Result<i64, Unreadable> {
    Ok(get(requests(container), "memory")?.map_or(0, |request| request.value()))
}

fn burstable(pod: &Pod, container: &Container, node_memory: i64) -> Result<i64, Unreadable> {
    let score = |bytes: i64| 1000 - (i128::from(bytes) * 1000 / i128::from(node_memory)) as i64;
    let spec = spec(pod);
    let of_pod = get(
        spec.resources
            .as_ref()
            .and_then(|resources| resources.requests.as_ref()),
        "memory",
    )?;
    let asked: Vec<i64> = containers::staying(spec)
        .map(memory_request)
        .collect::<Result<_, _>>()?;
    let extra = of_pod.map_or(0, |all| {
        ((all.value() - asked.iter().sum::<i64>()) / i64::try_from(asked.len()).unwrap_or(1).max(1))
            .max(0)
    });
    let mut adjusted = score(memory_request(container)? + extra);
    if containers::is_sidecar(container) {
        // sidecars stand first
        let least = asked[asked.len() - spec.containers.len()..]
            .iter()
            .min()
            .copied()
            .unwrap_or(0);
        adjusted = adjusted.min(score(least + extra));
    }
    Ok(adjusted.clamp(1000 + GUARANTEED, 999))
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn pod(resources: &[serde_json::Value]) -> Pod {
        let containers: Vec<_> = resources
            .iter()
            .enumerate()
            .map(|(i, r)| json!({"name": format!("c{i}"), "resources": r}))
            .collect();
        from_value(json!({"metadata": {"uid": "u"}, "spec": {"containers": containers}})).unwrap()
    }

    #[test]
    fn cgroups() {
        let full = json!({"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"cpu": "1000m", "memory": "1Gi"}});
        for (resources, wanted) in [
            (json!({}), "besteffort/podu"),
            (full, "podu"),
            (json!({"requests": {"cpu": "1"}}), "burstable/podu"),
        ] {
            assert_eq!(cgroup(&pod(&[resources])).unwrap(), wanted);
        }
    }

    #[test]
    fn of_the_pod_as_a_whole() {
        let limited = json!({"requests": {"cpu": "1"}, "limits": {"cpu": "1", "memory": "1Gi"}});
        let table = [
            (
                vec![limited.clone(), json!({})],
                json!({}),
                Some(1024),
                None,
                None,
            ),
            (
                vec![limited.clone()],
                json!({"cpu": "500m", "memory": "1Gi"}),
                Some(1536),
                Some(150_000),
                Some(2 << 30),
            ),
            (vec![json!({})], json!({}), Some(2), None, None),
            // a limit of nothing is none, and overhead does not make it one
            (
                vec![json!({"requests": {"cpu": "1"}, "limits": {"cpu": "0", "memory": "0"}})],
                json!({"cpu": "1"}),
                Some(2048),
                None,
                None,
            ),
        ];
        for (resources, overhead, shares, quota, memory) in table {
            let mut pod = pod(&resources);
            pod.spec.as_mut().unwrap().overhead = from_value(overhead.clone()).unwrap();
            let limits = pod_cgroup_limits(&pod).unwrap();
            assert_eq!(
                (limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes),
                (shares, quota, memory),
                "{resources:?} and {overhead}"
            );
        }
        assert!(pod_cgroup_limits(&pod(&[json!({"limits": {"memory": "much"}})])).is_err());
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
            assert_eq!(
                oom_score_adj(&pod, &spec(&pod).containers[0], 10 * gib),
                Ok(expected)
            );
        }
    }

    #[test]
    fn cgroup_values() {
        let pod = pod(&[
            json!({"requests": {"cpu": "100m"}, "limits": {"cpu": "500m", "memory": "64Mi"}}),
        ]);
        let limits = container_limits(&pod, &spec(&pod).containers[0], 1 << 33).unwrap();
        assert_eq!(
            (limits.cpu_shares, limits.cpu_quota_us, limits.memory_bytes),
            (Some(102), Some(50_000), Some(64 << 20))
        );
        assert_eq!((quota(5), quota(0), shares(0)), (Some(1000), None, 2));
    }
}
