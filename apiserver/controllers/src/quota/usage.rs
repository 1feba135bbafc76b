//! What an object uses of a resource quota.
//!
//! Invariant: pure, so that admission and the quota controller cannot differ; what cannot be read is an error. Follows
//! pkg/quota/v1/evaluator/core.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, PodAffinityTerm, ResourceQuotaSpec, ScopedResourceSelectorRequirement,
    Service, WeightedPodAffinityTerm,
};
use skiff_api::machinery::quantity::{Format, Quantity};
use skiff_podspec::pod::{Pod, Spec};
pub use skiff_podspec::resources::add;
use skiff_podspec::storage::named_class;
use skiff_podspec::{
    qos::{Class, class},
    resources::{self, List, Options, Status, Unreadable},
};

use crate::{
    clock::{after, since},
    pods,
    prelude::*,
};

/// Amounts by resource name.
pub type Usage = resources::Amounts;

fn unreadable(error: Unreadable) -> Error {
    Error::Failed(error.to_string())
}

/// Reads a resource list.
pub fn amounts(list: Option<&List>) -> Result<Usage, Error> {
    resources::read(list).map_err(unreadable)
}

/// A plain number.
pub fn number(count: i64) -> Quantity {
    Quantity::from_i64(count, Format::DecimalSi)
}

/// What a pod asks for, and may use at most, as far as quotas count it: a resize that is not through counts for containers.
fn requests_and_limits(pod: &Pod) -> Result<(Usage, Usage), Error> {
    const STATUS: Status = Status::OfContainers;
    let requests = resources::requests(
        pod,
        Options {
            status: STATUS,
            missing: None,
        },
    )
    .map_err(unreadable)?;
    Ok((
        requests,
        resources::limits(pod, STATUS).map_err(unreadable)?,
    ))
}

/// Whether the pod still holds what it asked for.
fn holds(pod: &Pod, now: Timestamp) -> bool {
    let overdue = pod
        .metadata
        .deletion_timestamp
        .as_ref()
        .zip(pod.metadata.deletion_grace_period_seconds)
        .is_some_and(|(at, grace)| {
            let grace = std::time::Duration::from_secs(u64::try_from(grace).unwrap_or(0));
            !since(now, after(at.0, grace)).is_zero()
        });
    !pods::is_finished(pod) && !overdue
}

/// What a pod uses.
pub fn of_pod(pod: &Pod, now: Timestamp) -> Result<Usage, Error> {
    let mut usage = Usage::from([("count/pods".to_string(), number(1))]);
    if !holds(pod, now) {
        return Ok(usage);
    }
    usage.insert("pods".into(), number(1));
    let (requests, limits) = requests_and_limits(pod)?;
    for (name, amount) in requests {
        match name.as_str() {
            "cpu" | "memory" | "ephemeral-storage" => {
                drop(usage.insert(name.clone(), amount.clone()))
            }
            _ if name.starts_with("hugepages-") => drop(usage.insert(name.clone(), amount.clone())),
            _ if name.contains('/') && !name.contains("kubernetes.io/") => {}
            _ => continue,
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in limits
        .into_iter()
        .filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory" | "ephemeral-storage"))
    {
        usage.insert(format!("limits.{name}"), amount);
    }
    Ok(usage)
}

/// What a claim uses, also of its storage class's own quota.
pub fn of_claim(claim: &PersistentVolumeClaim) -> Result<Usage, Error> {
    let mut usage = Usage::from([
        ("persistentvolumeclaims".to_string(), number(1)),
        ("count/persistentvolumeclaims".to_string(), number(1)),
    ]);
    let spec = claim.spec.as_ref();
    let class = named_class(claim).filter(|class| !class.is_empty());
    let in_class =
        |what: &str| class.map(|class| format!("{class}.storageclass.storage.k8s.io/{what}"));
    usage.extend(in_class("persistentvolumeclaims").map(|name| (name, number(1))));
    let requested = amounts(
        spec.and_then(|s| s.resources.as_ref())
            .and_then(|r| r.requests.as_ref()),
    )?
    .remove("storage");
    let allocated = amounts(claim.status().allocated_resources.as_ref())?.remove("storage");
    if let Some(storage) = requested.map(|r| allocated.filter(|a| *a > r).unwrap_or(r)) {
        usage.extend(in_class("requests.storage").map(|name| (name, storage.clone())));
        usage.insert("requests.storage".into(), storage);
    }
    Ok(usage)
}

/// What a service uses.
pub fn of_service(service: &Service) -> Usage {
    let mut usage = Usage::from([
        ("services".to_string(), number(1)),
        ("count/services".to_string(), number(1)),
    ]);
    let Some(spec) = &service.spec else {
        return usage;
    };
    let ports = spec.ports.as_deref().unwrap_or(&[]);
    let with_number = || {
        ports
            .iter()
            .filter(|p| p.node_port.is_some_and(|n| n != 0))
            .count()
    };
    let own_numbers = spec.allocate_load_balancer_node_ports == Some(false);
    let (nodeports, balancers) = match spec.type_.as_deref() {
        Some("NodePort") => (ports.len(), 0),
        Some("LoadBalancer") if own_numbers => (with_number(), 1),
        Some("LoadBalancer") => (ports.len(), 1),
        _ => (0, 0),
    };
    let nodeports = i64::try_from(nodeports).unwrap_or(i64::MAX);
    usage.insert("services.nodeports".into(), number(nodeports));
    usage.insert("services.loadbalancers".into(), number(balancers));
    usage
}

fn crosses_namespaces(spec: &Spec) -> bool {
    let crosses = |term: &PodAffinityTerm| {
        term.namespaces.as_ref().is_some_and(|n| !n.is_empty()) || term.namespace_selector.is_some()
    };
    let any = |required: Option<Vec<PodAffinityTerm>>,
               preferred: Option<Vec<WeightedPodAffinityTerm>>| {
        let preferred = preferred.into_iter().flatten().map(|w| w.pod_affinity_term);
        required
            .into_iter()
            .flatten()
            .chain(preferred)
            .any(|term| crosses(&term))
    };
    let affinity = spec.affinity.clone().unwrap_or_default();
    let near = affinity.pod_affinity.unwrap_or_default();
    let far = affinity.pod_anti_affinity.unwrap_or_default();
    any(
        near.required_during_scheduling_ignored_during_execution,
        near.preferred_during_scheduling_ignored_during_execution,
    ) || any(
        far.required_during_scheduling_ignored_during_execution,
        far.preferred_during_scheduling_ignored_during_execution,
    )
}

fn in_list(requirement: &ScopedResourceSelectorRequirement, value: Option<&str>) -> bool {
    let listed = |value: &str| requirement.values.iter().flatten().any(|v| v == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// All scopes of a quota, as requirements.
pub fn scopes(quota: &ResourceQuotaSpec) -> Vec<ScopedResourceSelectorRequirement> {
    let plain = |scope: &String| ScopedResourceSelectorRequirement {
        scope_name: scope.clone(),
        operator: "Exists".into(),
        values: None,
    };
    let selected = quota
        .scope_selector
        .iter()
        .flat_map(|s| s.match_expressions.iter().flatten().cloned());
    quota
        .scopes
        .iter()
        .flatten()
        .map(plain)
        .chain(selected)
        .collect()
}

/// Whether a pod is in one scope.
fn pod_in_scope(pod: &Pod, scope: &ScopedResourceSelectorRequirement) -> Result<bool, Error> {
    let spec = pod.spec();
    let deadline = spec.active_deadline_seconds.is_some_and(|s| s >= 0);
    let is_best_effort = || Ok::<_, Error>(class(pod).map_err(unreadable)? == Class::BestEffort);
    Ok(match scope.scope_name.as_str() {
        "Terminating" => deadline,
        "NotTerminating" => !deadline,
        "BestEffort" => is_best_effort()?,
        "NotBestEffort" => !is_best_effort()?,
        "PriorityClass" => in_list(
            scope,
            spec.priority_class_name
                .as_deref()
                .filter(|p| !p.is_empty()),
        ),
        "CrossNamespacePodAffinity" => crosses_namespaces(spec),
        _ => false,
    })
}

/// Whether a pod is in all of these scopes.
pub fn pod_in_scopes(
    pod: &Pod,
    scopes: &[ScopedResourceSelectorRequirement],
) -> Result<bool, Error> {
    scopes
        .iter()
        .try_fold(true, |all, scope| Ok(all && pod_in_scope(pod, scope)?))
}

/// Whether a claim is in one scope.
pub fn claim_in_scope(
    claim: &PersistentVolumeClaim,
    scope: &ScopedResourceSelectorRequirement,
) -> bool {
    let class = claim.spec().volume_attributes_class_name.as_deref();
    scope.scope_name == "VolumeAttributesClass" && in_list(scope, class.filter(|c| !c.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PodSpec, ServicePort, ServiceSpec};
    use serde_json::{from_value, json};

    #[test]
    fn of_pods() {
        let container = |cpu: &str| json!({"name": "c", "resources": {"requests": {"cpu": cpu}, "limits": {"cpu": cpu}}});
        let resizing = json!({"containerStatuses": [{"name": "c", "resources": {"requests": {"cpu": "3"}, "limits": {"cpu": "4"}}}]});
        #[rustfmt::skip]
        let cases = [
            ("two containers", json!({"containers": [container("500m"), container("1")]}), json!({}), "1500m", "1500m"),
            ("an init container", json!({"containers": [container("500m")], "initContainers": [container("2")]}), json!({}), "2", "2"),
            ("a resize that is not through", json!({"containers": [container("2")]}), resizing, "3", "4"),
        ];
        for (what, spec, status, requests, limits) in cases {
            let pod: Pod = from_value(json!({"spec": spec, "status": status})).unwrap();
            let usage = of_pod(&pod, Timestamp::UNIX_EPOCH).unwrap();
            assert_eq!(
                (
                    usage["requests.cpu"].to_string(),
                    usage["limits.cpu"].to_string()
                ),
                (requests.into(), limits.into()),
                "{what}"
            );
            assert_eq!(usage["pods"], number(1));
        }
        let pod: Pod = from_value(json!({"spec": {"containers": [container("many")]}})).unwrap();
        assert_eq!(
            of_pod(&pod, Timestamp::UNIX_EPOCH).unwrap_err().to_string(),
            "the quantity \"many\" of cpu cannot be read"
        );
    }

    #[test]
    fn services_and_scopes() {
        let spec = ServiceSpec {
            type_: Some("LoadBalancer".into()),
            ports: Some(vec![ServicePort::default(), ServicePort::default()]),
            ..Default::default()
        };
        let usage = of_service(&Service {
            spec: Some(spec),
            ..Default::default()
        });
        assert_eq!(
            (
                usage["services.nodeports"].value(),
                usage["services.loadbalancers"].value()
            ),
            (2, 1)
        );
        let pod = Pod {
            spec: Some(
                PodSpec {
                    active_deadline_seconds: Some(5),
                    ..Default::default()
                }
                .into(),
            ),
            ..Default::default()
        };
        let scope = |name: &str| ScopedResourceSelectorRequirement {
            scope_name: name.into(),
            operator: "Exists".into(),
            values: None,
        };
        let is_in = |name: &str| pod_in_scope(&pod, &scope(name)).unwrap();
        assert!(is_in("Terminating") && is_in("BestEffort") && !is_in("PriorityClass"));
        let unreadable: Pod = from_value(json!({"spec": {"containers": [{"name": "c", "resources": {"limits": {"cpu": "many"}}}]}})).unwrap();
        assert!(
            pod_in_scopes(&unreadable, &[scope("BestEffort")]).is_err(),
            "in no scope is counted by no quota"
        );
    }
}
