//! What a pod asks for, and what it may use at most.
//!
//! Invariant: amounts are exact; one that cannot be read is an error and never nothing. What is asked for the pod as a whole replaces what its
//! containers ask for. Follows `k8s.io/component-helpers/resource/helpers.go` (PodRequests, PodLimits).

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{Container, ContainerStatus, ResourceRequirements},
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};
pub use skiff_api::machinery::amounts::{Amounts, add, raise};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{amounts::peak, quantity::Quantity};

use crate::{
    conditions::condition,
    containers::is_sidecar,
    pod::{AnyPod, AnySpec},
    spec,
};

/// Amounts as the API writes them, by resource.
pub type List = BTreeMap<String, ApiQuantity>;

/// A quantity in an object that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the quantity {quantity} of {resource} cannot be read", quantity = GoQuoted(.quantity))]
pub struct Unreadable {
    pub resource: String,
    pub quantity: String,
}

/// Whether what a pod's status says counts: what was given and allotted while a resize is not through yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    #[default]
    Ignored,
    OfContainers,
    /// That of the pod as a whole, too.
    Counts,
}

/// How it is added up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options<'a> {
    pub status: Status,
    /// What each container counts as asking for that does not name it.
    pub missing: Option<&'a Amounts>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Requests,
    Limits,
}

impl Side {
    fn of(self, resources: Option<&ResourceRequirements>) -> Option<&List> {
        resources.and_then(|resources| {
            if self == Side::Requests {
                resources.requests.as_ref()
            } else {
                resources.limits.as_ref()
            }
        })
    }
}

/// Reads one quantity.
pub fn read_one(resource: &str, quantity: &ApiQuantity) -> Result<Quantity, Unreadable> {
    quantity.0.parse().map_err(|_| Unreadable {
        resource: resource.to_string(),
        quantity: quantity.0.clone(),
    })
}

/// Reads a list; none is an empty one.
pub fn read(list: Option<&List>) -> Result<Amounts, Unreadable> {
    list.into_iter()
        .flatten()
        .map(|(name, quantity)| Ok((name.clone(), read_one(name, quantity)?)))
        .collect()
}

/// What a list says of one resource.
pub fn get(list: Option<&List>, resource: &str) -> Result<Option<Quantity>, Unreadable> {
    list.and_then(|list| list.get(resource))
        .map(|quantity| read_one(resource, quantity))
        .transpose()
}

/// Whether a resource can be asked for for a pod as a whole.
pub fn is_for_pods(resource: &str) -> bool {
    matches!(resource, "cpu" | "memory") || resource.starts_with("hugepages-")
}

/// Whether something is asked for for the pod as a whole.
pub fn has_requests_as_a_whole(pod: &impl AnyPod) -> bool {
    Side::Requests
        .of(spec(pod).resources().as_ref())
        .is_some_and(|list| list.keys().any(|name| is_for_pods(name)))
}

/// What the pod asks for, its overhead included.
pub fn requests(pod: &impl AnyPod, options: Options<'_>) -> Result<Amounts, Unreadable> {
    let mut sum = total(pod, Side::Requests, options)?;
    add(&mut sum, &read(spec(pod).overhead().as_ref())?);
    Ok(sum)
}

/// What the pod may use at most; its overhead is added to what is limited.
pub fn limits(pod: &impl AnyPod, status: Status) -> Result<Amounts, Unreadable> {
    let mut sum = total(
        pod,
        Side::Limits,
        Options {
            status,
            missing: None,
        },
    )?;
    for (name, overhead) in read(spec(pod).overhead().as_ref())? {
        if let Some(limit) = sum.get_mut(&name).filter(|limit| !limit.is_zero()) {
            limit.add(&overhead);
        }
    }
    Ok(sum)
}

fn total(pod: &impl AnyPod, side: Side, options: Options<'_>) -> Result<Amounts, Unreadable> {
    let mut sum = of_containers(pod, side, options)?;
    let (own, status) = (side.of(spec(pod).resources().as_ref()), pod.its_status());
    let given = status
        .and_then(|status| status.resources.as_ref())
        .filter(|_| options.status == Status::Counts);
    let resized = given
        .map(|given| {
            resized(
                pod,
                side,
                own,
                given,
                status.and_then(|status| status.allocated_resources.as_ref()),
            )
        })
        .transpose()?;
    for (name, amount) in read(own)?.into_iter().filter(|(name, _)| is_for_pods(name)) {
        let amount = resized.as_ref().map_or(amount, |resized| {
            resized.get(&name).cloned().unwrap_or_default()
        });
        sum.insert(name, amount);
    }
    Ok(sum)
}

/// The largest of what is asked for, given and allotted: a resize takes its room before it is through. What can never be is not asked for.
fn resized(
    pod: &impl AnyPod,
    side: Side,
    asked: Option<&List>,
    given: &ResourceRequirements,
    allotted: Option<&List>,
) -> Result<Amounts, Unreadable> {
    let pending = condition(pod.its_status(), "PodResizePending");
    let is_infeasible =
        pending.is_some_and(|pending| pending.reason.as_deref() == Some("Infeasible"));
    let mut most = if is_infeasible {
        Amounts::new()
    } else {
        read(asked)?
    };
    raise(&mut most, &read(side.of(Some(given)))?);
    if side == Side::Requests {
        raise(&mut most, &read(allotted)?);
    }
    Ok(most)
}

fn of_container(
    pod: &impl AnyPod,
    container: &Container,
    side: Side,
    options: Options<'_>,
    statuses: &[&ContainerStatus],
) -> Result<Amounts, Unreadable> {
    let asked = side.of(container.resources.as_ref());
    let status = statuses.iter().find(|status| status.name == container.name);
    let mut amounts = match status.and_then(|status| Some((status, status.resources.as_ref()?))) {
        Some((status, given)) => {
            resized(pod, side, asked, given, status.allocated_resources.as_ref())?
        }
        None => read(asked)?,
    };
    for (name, amount) in options.missing.into_iter().flatten() {
        amounts
            .entry(name.clone())
            .or_insert_with(|| amount.clone());
    }
    Ok(amounts)
}

/// Init containers that end count as they ask, whatever their status says.
fn of_containers(
    pod: &impl AnyPod,
    side: Side,
    options: Options<'_>,
) -> Result<Amounts, Unreadable> {
    let (spec, status) = (
        spec(pod),
        pod.its_status()
            .filter(|_| options.status != Status::Ignored),
    );
    let statuses = [
        status.and_then(|s| s.container_statuses.as_ref()),
        status.and_then(|s| s.init_container_statuses.as_ref()),
    ];
    let statuses: Vec<&ContainerStatus> = statuses.into_iter().flatten().flatten().collect();
    let of = |container, statuses: &[_]| of_container(pod, container, side, options, statuses);
    let first = spec.init_containers().iter().flatten().map(|container| {
        let stays = is_sidecar(container);
        let counted = if stays { &statuses[..] } else { &[] };
        (stays, of(container, counted))
    });
    let together = spec.containers().iter();
    peak(together.map(|container| of(container, &statuses)), first)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(spec: Value, status: Value) -> Pod {
        from_value(json!({"metadata": {}, "spec": spec, "status": status})).unwrap()
    }

    fn text(amounts: &Amounts) -> String {
        amounts
            .iter()
            .map(|(name, amount)| format!("{name}={amount}"))
            .collect::<Vec<_>>()
            .join(" ")
    }

    fn container(name: &str, resources: Value) -> Value {
        json!({"name": name, "resources": resources})
    }

    fn sidecar(name: &str, resources: Value) -> Value {
        json!({"name": name, "restartPolicy": "Always", "resources": resources})
    }

    fn asks(cpu: &str) -> Value {
        json!({"requests": {"cpu": cpu}, "limits": {"cpu": cpu}})
    }

    #[test]
    fn of_containers_in_their_order() {
        let two = [
            container(
                "a",
                json!({"requests": {"cpu": "100m", "memory": "1Mi"}, "limits": {"cpu": "1"}}),
            ),
            container("b", asks("50m")),
        ];
        #[rustfmt::skip]
        let cases = [
            ("nothing", json!({"containers": [container("a", json!({}))]}), "", ""),
            ("a sum", json!({"containers": two}), "cpu=150m memory=1Mi", "cpu=1050m"),
            ("exact sums", json!({"containers": [container("a", asks("100u")), container("b", asks("100u"))]}), "cpu=200u", "cpu=200u"),
            ("the largest init container", json!({"containers": two, "initContainers": [container("i", asks("2"))]}), "cpu=2 memory=1Mi", "cpu=2"),
            (
                "one beside a sidecar that was there before",
                json!({"containers": two, "initContainers": [sidecar("s", asks("1")), container("i", asks("2"))]}),
                "cpu=3 memory=1Mi",
                "cpu=3",
            ),
            (
                "one before a sidecar",
                json!({"containers": two, "initContainers": [container("i", asks("2")), sidecar("s", asks("1"))]}),
                "cpu=2 memory=1Mi",
                "cpu=2050m",
            ),
            ("a sidecar stays", json!({"containers": two, "initContainers": [sidecar("s", asks("1"))]}), "cpu=1150m memory=1Mi", "cpu=2050m"),
            ("overhead", json!({"containers": two, "overhead": {"cpu": "5m", "memory": "1Mi"}}), "cpu=155m memory=2Mi", "cpu=1055m"),
            ("overhead on a limit of nothing", json!({"containers": [container("a", asks("0"))], "overhead": {"cpu": "5m"}}), "cpu=5m", "cpu=0"),
        ];
        for (what, spec, requests, limits) in cases {
            let pod = pod(spec, json!({}));
            assert_eq!(
                text(&super::requests(&pod, Options::default()).unwrap()),
                requests,
                "{what}"
            );
            assert_eq!(
                text(&super::limits(&pod, Status::Ignored).unwrap()),
                limits,
                "{what}"
            );
            let untyped = serde_json::to_value(super::spec(&pod)).unwrap();
            let servers =
                skiff_api::kinds::validation::pod::resources::aggregate(&untyped, "requests");
            let servers = servers
                .into_iter()
                .map(|(name, amount)| (name.to_string(), amount))
                .collect();
            assert_eq!(
                of_containers(&pod, Side::Requests, Options::default()).unwrap(),
                servers,
                "the server's: {what}"
            );
        }
    }

    #[test]
    fn for_the_pod_as_a_whole() {
        let whole = json!({"requests": {"cpu": "10m", "hugepages-2Mi": "4Mi", "example.com/gpu": "9"}, "limits": {"cpu": "20m"}});
        let pod = pod(
            json!({"containers": [container("a", json!({"requests": {"cpu": "1", "memory": "1Mi"}}))], "resources": whole}),
            json!({}),
        );
        assert_eq!(
            text(&requests(&pod, Options::default()).unwrap()),
            "cpu=10m hugepages-2Mi=4Mi memory=1Mi"
        );
        assert_eq!(text(&limits(&pod, Status::Ignored).unwrap()), "cpu=20m");
        assert!(has_requests_as_a_whole(&pod));
        for (resources, wanted) in [
            (json!({}), false),
            (json!({"limits": {"cpu": "1"}}), false),
            (json!({"requests": {"example.com/gpu": "1"}}), false),
        ] {
            assert_eq!(
                has_requests_as_a_whole(&super::tests::pod(
                    json!({"containers": [], "resources": resources}),
                    json!({})
                )),
                wanted,
                "{resources}"
            );
        }
    }

    #[test]
    fn resizes_that_are_not_through() {
        let status = |name: &str, given: &str, allotted: &str| json!({"name": name, "resources": asks(given), "allocatedResources": {"cpu": allotted}});
        let infeasible =
            json!([{"type": "PodResizePending", "status": "True", "reason": "Infeasible"}]);
        let one = json!({"containers": [container("a", asks("2"))]});
        let whole = json!({"containers": [container("a", json!({}))], "resources": asks("2")});
        let with_init = json!({"containers": [container("a", asks("1"))], "initContainers": [container("i", asks("2"))]});
        let with_sidecar = json!({"containers": [container("a", asks("1"))], "initContainers": [sidecar("s", asks("2"))]});
        let given_whole = json!({"resources": asks("3"), "allocatedResources": {"cpu": "4"}});
        #[rustfmt::skip]
        let cases = [
            ("it is ignored", &one, json!({"containerStatuses": [status("a", "3", "4")]}), Status::Ignored, "2", "2"),
            ("the largest", &one, json!({"containerStatuses": [status("a", "3", "4")]}), Status::OfContainers, "4", "3"),
            ("less is given", &one, json!({"containerStatuses": [status("a", "1", "1")]}), Status::OfContainers, "2", "2"),
            ("it cannot be", &one, json!({"containerStatuses": [status("a", "1", "1")], "conditions": infeasible}), Status::OfContainers, "1", "1"),
            ("of an init container", &with_init, json!({"initContainerStatuses": [status("i", "9", "9")]}), Status::Counts, "2", "2"),
            ("of a sidecar", &with_sidecar, json!({"initContainerStatuses": [status("s", "8", "9")]}), Status::OfContainers, "10", "9"),
            ("of the pod as a whole", &whole, given_whole.clone(), Status::Counts, "4", "3"),
            ("which not all look at", &whole, given_whole, Status::OfContainers, "2", "2"),
        ];
        for (what, spec, status, counts, requests, limits) in cases {
            let pod = pod(spec.clone(), status);
            let options = Options {
                status: counts,
                missing: None,
            };
            assert_eq!(
                text(&super::requests(&pod, options).unwrap()),
                format!("cpu={requests}"),
                "{what}"
            );
            assert_eq!(
                text(&super::limits(&pod, counts).unwrap()),
                format!("cpu={limits}"),
                "{what}"
            );
        }
    }

    #[test]
    fn what_is_not_said_may_count() {
        let missing = Amounts::from([
            ("cpu".to_string(), "100m".parse().unwrap()),
            ("memory".to_string(), "200Mi".parse().unwrap()),
        ]);
        let pod = pod(
            json!({"containers": [container("a", json!({"requests": {"cpu": "0"}})), container("b", json!({}))]}),
            json!({}),
        );
        let options = Options {
            missing: Some(&missing),
            ..Options::default()
        };
        assert_eq!(
            text(&requests(&pod, options).unwrap()),
            "cpu=100m memory=400Mi"
        );
    }

    #[test]
    fn what_cannot_be_read_is_no_zero() {
        let bad = json!({"requests": {"cpu": "many"}, "limits": {"cpu": "many"}});
        for spec in [
            json!({"containers": [container("a", bad.clone())]}),
            json!({"containers": [], "initContainers": [container("a", bad.clone())]}),
            json!({"containers": [], "resources": bad}),
            json!({"containers": [], "overhead": {"cpu": "many"}}),
        ] {
            let pod = pod(spec.clone(), json!({}));
            let wanted = "the quantity \"many\" of cpu cannot be read";
            assert_eq!(
                requests(&pod, Options::default()).unwrap_err().to_string(),
                wanted,
                "{spec}"
            );
            assert_eq!(
                limits(&pod, Status::Ignored).unwrap_err().to_string(),
                wanted,
                "{spec}"
            );
        }
    }
}
