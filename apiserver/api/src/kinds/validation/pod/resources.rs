//! Requests and limits of containers and pods.
//!
//! Invariant: names are walked in order, so errors come sorted. Follows `pkg/apis/core/validation/validation.go`
//! (validateResourceRequirements, validatePodResources), `pkg/apis/core/helper/helpers.go` and
//! `staging/src/k8s.io/component-helpers/resource/helpers.go`.

use std::convert::Infallible;

use super::{Options, containers};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{dns_label, unsupported};
pub use crate::machinery::amounts::Amounts;
use crate::machinery::amounts::peak;
use crate::machinery::field::{Error, Kind};
use crate::machinery::quantity::Quantity;

pub const HUGE_PAGES: &str = "hugepages-";
const STANDARD_CONTAINER: [&str; 3] = ["cpu", "memory", "ephemeral-storage"];
const STANDARD: [&str; 20] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "storage",
    "requests.storage",
    "services.nodeports",
    "services.loadbalancers",
];
const COUNTED: [&str; 9] = [
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];

/// What kind of names a list of resources may hold.
type CheckName = fn(&str, &Path, &mut Errors);

pub fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Resources of devices: another domain's, and fit to stand in a quota.
pub fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::is_qualified_name(&format!("requests.{name}")).is_empty()
}

fn is_integer(name: &str) -> bool {
    COUNTED.contains(&name) || is_extended(name)
}

fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name)
        || name.starts_with(HUGE_PAGES)
        || name.starts_with("requests.hugepages-")
}

pub fn may_be_overcommitted(name: &str) -> bool {
    is_native(name) && !name.starts_with(HUGE_PAGES)
}

pub fn quantity(value: &Value) -> Quantity {
    Quantity::from_json(value).unwrap_or_default()
}

/// A compute resource's name; answers whether it is good.
pub fn resource_name(name: &str, path: &Path, errors: &mut Errors) -> bool {
    let before = errors.len();
    errors.invalid_all(path, name, names::is_qualified_name(name));
    if errors.len() == before && !name.contains('/') && !is_standard(name) {
        errors.invalid(
            path,
            name,
            "must be a standard resource type or fully qualified",
        );
    }
    errors.len() == before
}

/// What quotas count without asking another domain.
pub fn is_standard_for_quota(name: &str) -> bool {
    is_standard(name) && name != "storage"
}

pub fn container_resource_name(name: &str, path: &Path, errors: &mut Errors) {
    resource_name(name, path, errors);
    if name.split('/').count() == 1 {
        if !STANDARD_CONTAINER.contains(&name) && !name.starts_with(HUGE_PAGES) {
            errors.invalid(path, name, "must be a standard resource for containers");
        }
    } else if !is_native(name) && !is_extended(name) {
        errors.invalid(path, name, "doesn't follow extended resource name standard");
    }
}

fn pod_resource_name(name: &str, path: &Path, errors: &mut Errors) {
    if resource_name(name, path, errors) && !at_pod_level(name) {
        unsupported(name, &["cpu", HUGE_PAGES, "memory"], path, errors);
    }
}

/// Resources that a pod as a whole can ask for.
pub fn at_pod_level(name: &str) -> bool {
    matches!(name, "cpu" | "memory") || name.starts_with(HUGE_PAGES)
}

/// An amount of a resource.
pub fn amount(name: &str, value: &Quantity, path: &Path, errors: &mut Errors) {
    if value.sign() < 0 {
        errors.invalid(
            path,
            value.to_string(),
            "must be greater than or equal to 0",
        );
    }
    if is_integer(name) && !value.counts_as_whole() {
        errors.invalid(path, value.to_string(), "must be an integer");
    }
}

fn is_divisible(name: &str, value: &Quantity) -> bool {
    let Some(Ok(page)) = name.strip_prefix(HUGE_PAGES).map(str::parse::<Quantity>) else {
        return false;
    };
    page.sign() > 0 && page.milli_value() % 1000 == 0 && value.value() % page.value() == 0
}

fn huge_pages(name: &str, value: &Quantity, options: &Options, path: &Path, errors: &mut Errors) {
    if !options.indivisible_huge_pages && !is_divisible(name, value) {
        errors.invalid(
            path,
            value.to_string(),
            format!("{value} is not positive integer multiple of {name}"),
        );
    }
}

/// Requests and limits of a container. `claims` are the names in the pod's `resourceClaims`.
pub fn of_container(
    resources: Option<&Value>,
    claims: &[&str],
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) {
    if let Some(resources) = resources {
        requirements(
            resources,
            container_resource_name,
            claims,
            options,
            path,
            errors,
        );
    }
}

/// A pod's overhead, which is checked as limits are.
pub fn overhead(owner: &Value, list: &str, options: &Options, path: &Path, errors: &mut Errors) {
    let mut seen = Seen::default();
    limits(
        owner,
        list,
        container_resource_name,
        options,
        &path.child("limits"),
        &mut seen,
        errors,
    );
    seen.report(path, errors);
}

#[derive(Default)]
struct Seen {
    compute: bool,
    huge_pages: bool,
}

impl Seen {
    fn note(&mut self, name: &str) {
        self.compute |= matches!(name, "cpu" | "memory");
        self.huge_pages |= name.starts_with(HUGE_PAGES);
    }

    fn report(&self, path: &Path, errors: &mut Errors) {
        if self.huge_pages && !self.compute {
            errors.forbidden(path, "HugePages require cpu or memory");
        }
    }
}

fn limits(
    owner: &Value,
    list: &str,
    check_name: CheckName,
    options: &Options,
    path: &Path,
    seen: &mut Seen,
    errors: &mut Errors,
) {
    for (name, value) in owner.entries(list) {
        let (at, value) = (path.key(name), quantity(value));
        check_name(name, &at, errors);
        amount(name, &value, &at, errors);
        if name.starts_with(HUGE_PAGES) {
            huge_pages(name, &value, options, &at, errors);
        }
        seen.note(name);
    }
}

fn requirements(
    resources: &Value,
    check_name: CheckName,
    claims: &[&str],
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) {
    let (limits_at, requests_at) = (path.child("limits"), path.child("requests"));
    let mut seen = Seen::default();
    limits(
        resources, "limits", check_name, options, &limits_at, &mut seen, errors,
    );
    for (name, value) in resources.entries("requests") {
        let (at, value) = (requests_at.key(name), quantity(value));
        check_name(name, &at, errors);
        amount(name, &value, &at, errors);
        match resources.at("limits").some(name).map(quantity) {
            Some(limit) if value != limit && !may_be_overcommitted(name) => {
                errors.invalid(
                    &requests_at,
                    value.to_string(),
                    format!("must be equal to {name} limit of {limit}"),
                );
            }
            Some(limit) if value > limit => {
                errors.invalid(
                    &requests_at,
                    value.to_string(),
                    format!("must be less than or equal to {name} limit of {limit}"),
                );
            }
            Some(_) => {}
            None if !may_be_overcommitted(name) => errors.required(
                &limits_at,
                "Limit must be set for non overcommitable resources",
            ),
            None => {}
        }
        if name.starts_with(HUGE_PAGES) {
            huge_pages(name, &value, options, &at, errors);
        }
        seen.note(name);
    }
    seen.report(path, errors);
    claim_names(
        resources.list("claims"),
        claims,
        &path.child("claims"),
        errors,
    );
}

/// The claims of a container are among those of its pod, each whole or by its requests, and once.
fn claim_names(given: &[Value], pod_claims: &[&str], path: &Path, errors: &mut Errors) {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (index, claim) in given.iter().enumerate() {
        let at = path.index(index);
        let (name, request) = (claim.text("name"), claim.text("request"));
        if name.is_empty() {
            errors.required(&at, "");
            continue;
        }
        if seen.contains(&(name, "")) {
            errors.duplicate(&at, name);
        } else {
            if !request.is_empty() {
                dns_label(request, &at.child("request"), errors);
            }
            if seen.contains(&(name, request)) {
                errors.duplicate(&at, format!("{name}/{request}"));
            } else if request.is_empty() {
                for _ in seen.iter().filter(|(other, _)| *other == name) {
                    errors.duplicate(&at, name);
                }
            }
            seen.push((name, request));
        }
        if !pod_claims.contains(&name) {
            let mut known = pod_claims.to_vec();
            known.sort_unstable();
            let which = if known.is_empty() {
                " which is empty".to_string()
            } else {
                format!(": {}", known.join(", "))
            };
            let detail = format!("must be one of the names in pod.spec.resourceClaims{which}");
            errors.0.push(Error {
                kind: Kind::NotFound,
                field: at.to_string(),
                value: Some(name.into()),
                detail,
            });
        }
    }
}

/// `spec.resources`, and how it agrees with the containers'.
pub fn of_pod(spec: &Value, claims: &[&str], options: &Options, path: &Path, errors: &mut Errors) {
    let Some(resources) = spec.some("resources") else {
        return;
    };
    let path = path.child("resources");
    if spec.at("os").text("name") == "windows" {
        errors.forbidden(&path, "may not be set for a windows pod");
        return;
    }
    if resources.some("claims").is_some() {
        errors.forbidden(
            &path.child("claims"),
            "claims may not be set for Resources at pod-level",
        );
    }
    requirements(resources, pod_resource_name, claims, options, &path, errors);
    for (name, total) in aggregate(spec, "requests") {
        if let Some(asked) = resources
            .at("requests")
            .some(name)
            .map(quantity)
            .filter(|asked| total > *asked)
        {
            let detail =
                format!("must be greater than or equal to aggregate container requests of {total}");
            errors.invalid(&path.child("requests").key(name), asked.to_string(), detail);
        }
    }
    for (name, total) in aggregate(spec, "limits")
        .into_iter()
        .filter(|(name, _)| name.starts_with(HUGE_PAGES))
    {
        if let Some(limit) = resources
            .at("limits")
            .some(name)
            .map(quantity)
            .filter(|limit| total > *limit)
        {
            let detail =
                format!("must be greater than or equal to aggregate container limits of {total}");
            errors.invalid(&path.child("limits").key(name), limit.to_string(), detail);
        }
    }
    for (index, container) in spec.list("containers").iter().enumerate() {
        for (name, value) in container.at("resources").entries("limits") {
            let value = quantity(value);
            if let Some(limit) = resources
                .at("limits")
                .some(name)
                .map(quantity)
                .filter(|limit| value > *limit)
            {
                let at = path.child("containers");
                let at = at.index(index);
                errors.invalid(
                    &at.key(name).child("limits"),
                    value.to_string(),
                    format!("must be less than or equal to pod limits of {limit}"),
                );
            }
        }
    }
}

/// What all containers together need of `list` (`requests` or `limits`) at the worst moment of the pod's life. Typed pods: `resources` of skiff-podspec.
pub fn aggregate<'v>(spec: &'v Value, list: &str) -> Amounts<&'v str> {
    let of = |container: &'v Value| -> Result<Amounts<&'v str>, Infallible> {
        let amounts = container.at("resources").entries(list);
        Ok(amounts
            .map(|(name, value)| (name, quantity(value)))
            .collect())
    };
    let first = spec.list("initContainers").iter();
    let Ok(peak) = peak(
        spec.list("containers").iter().map(of),
        first.map(|container| (containers::is_sidecar(container), of(container))),
    );
    peak
}

/// Whether some container or the overhead asks for a part of a huge page.
pub fn uses_indivisible_huge_pages(spec: &Value) -> bool {
    let odd = |(name, value): (&str, &Value)| {
        name.starts_with(HUGE_PAGES) && !is_divisible(name, &quantity(value))
    };
    containers::all(spec).any(|(_, _, c)| {
        c.at("resources").entries("limits").any(odd)
            || c.at("resources").entries("requests").any(odd)
    }) || spec.entries("overhead").any(odd)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(resources: Value, claims: &[&str]) -> Vec<String> {
        Errors::of(|errors| {
            of_container(
                Some(&resources),
                claims,
                &Options::default(),
                &Path::new("r"),
                errors,
            )
        })
        .texts()
    }

    #[test]
    fn containers_() {
        for (resources, wanted) in [
            (
                json!({"limits": {"cpu": "1", "example.com/gpu": "1"}, "requests": {"cpu": "500m", "example.com/gpu": "1"}}),
                vec![],
            ),
            (
                json!({"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}),
                vec![
                    "r.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1",
                ],
            ),
            (
                json!({"requests": {"example.com/gpu": "1"}}),
                vec![
                    "r.limits: Required value: Limit must be set for non overcommitable resources",
                ],
            ),
            (
                json!({"limits": {"odd": "1"}}),
                vec![
                    "r.limits[odd]: Invalid value: \"odd\": must be a standard resource type or fully qualified",
                    "r.limits[odd]: Invalid value: \"odd\": must be a standard resource for containers",
                ],
            ),
            (
                json!({"limits": {"cpu": "-1"}}),
                vec!["r.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0"],
            ),
            (
                json!({"limits": {"hugepages-2Mi": "3Mi"}}),
                vec![
                    "r.limits[hugepages-2Mi]: Invalid value: \"3Mi\": 3Mi is not positive integer multiple of hugepages-2Mi",
                    "r: Forbidden: HugePages require cpu or memory",
                ],
            ),
            (
                json!({"claims": [{"name": "x"}]}),
                vec![
                    "r.claims[0]: Not found: \"x\": must be one of the names in pod.spec.resourceClaims: a, b",
                ],
            ),
        ] {
            assert_eq!(said(resources, &["b", "a"]), wanted);
        }
    }

    #[test]
    fn together() {
        let needs = |cpu: &str, sidecar: bool| json!({"restartPolicy": if sidecar { "Always" } else { "" }, "resources": {"requests": {"cpu": cpu}}});
        let spec = json!({"containers": [needs("1", false), needs("2", false)], "initContainers": [needs("1", true), needs("5", false), needs("1", true)]});
        // both sidecars and both containers need 5; the second init container beside the first sidecar needs 6
        assert_eq!(aggregate(&spec, "requests")["cpu"], "6".parse().unwrap());
    }

    #[test]
    fn pods() {
        let spec = json!({"resources": {"requests": {"cpu": "1"}, "limits": {"cpu": "1", "odd.io/x": "1"}},
            "containers": [{"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "2"}}}]});
        let mut errors = Errors::default();
        of_pod(
            &spec,
            &[],
            &Options::default(),
            &Path::new("spec"),
            &mut errors,
        );
        let said: Vec<String> = errors.texts();
        assert_eq!(
            said,
            [
                "spec.resources.limits[odd.io/x]: Unsupported value: \"odd.io/x\": supported values: \"cpu\", \"hugepages-\", \"memory\"",
                "spec.resources.requests[cpu]: Invalid value: \"1\": must be greater than or equal to aggregate container requests of 2",
                "spec.resources.containers[0][cpu].limits: Invalid value: \"2\": must be less than or equal to pod limits of 1",
            ]
        );
    }
}
