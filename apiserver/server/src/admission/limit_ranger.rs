//! LimitRanger: a namespace's limits become defaults of containers, and bounds of pods, containers and claims.
//!
//! Follows `plugin/pkg/admission/limitranger/admission.go`.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::Value;
use skiff_api::machinery::{
    meta::{Meta, child_mut},
    quantity::Quantity,
    status::Status,
};

use super::plugin::{Attributes, Operation, Plugin};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const LIMIT_RANGES: &str = "limitranges";

type List = BTreeMap<String, Quantity>;

pub struct LimitRanger;

#[async_trait]
impl Plugin for LimitRanger {
    fn name(&self) -> &'static str {
        "LimitRanger"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        let pods = attributes.is_one(&[Operation::Create], "", "pods");
        let resized = attributes.kind.plural == "pods"
            && attributes.subresource == "resize"
            && attributes.operation == Operation::Update;
        let claims = attributes.is_one(
            &[Operation::Create, Operation::Update],
            "",
            "persistentvolumeclaims",
        );
        (pods || resized || claims) && !attributes.old.is_some_and(Meta::is_deleting)
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        if attributes.kind.plural != "pods" {
            return Ok(());
        }
        for range in attributes.list(LIMIT_RANGES, Some(attributes.namespace))? {
            if let Some(pod) = attributes.object.as_mut() {
                set_defaults(pod, &range);
            }
        }
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let Some(object) = &attributes.object else {
            return Ok(());
        };
        for range in attributes.list(LIMIT_RANGES, Some(attributes.namespace))? {
            let mut errors = Vec::new();
            for limit in range["spec"]["limits"].as_array().into_iter().flatten() {
                match (attributes.kind.plural, limit["type"].as_str().unwrap_or("")) {
                    ("pods", "Container") => containers(object).for_each(|container| {
                        let resources = &container["resources"];
                        bounds(
                            limit,
                            &list(&resources["requests"]),
                            &list(&resources["limits"]),
                            &mut errors,
                        );
                    }),
                    ("pods", "Pod") => bounds(
                        limit,
                        &pod_sum(object, "requests"),
                        &pod_sum(object, "limits"),
                        &mut errors,
                    ),
                    ("persistentvolumeclaims", "PersistentVolumeClaim") => claim(
                        limit,
                        &list(&object["spec"]["resources"]["requests"]),
                        &mut errors,
                    ),
                    _ => {}
                }
            }
            if !errors.is_empty() {
                return Err(attributes.forbidden(aggregate(errors)));
            }
        }
        Ok(())
    }
}

/// As upstream joins several errors: one as it is, more in brackets, each text once.
fn aggregate(errors: Vec<String>) -> String {
    let mut unique: Vec<String> = Vec::new();
    errors.into_iter().for_each(|error| {
        if !unique.contains(&error) {
            unique.push(error);
        }
    });
    if unique.len() == 1 {
        unique.remove(0)
    } else {
        format!("[{}]", unique.join(", "))
    }
}

/// Containers first, then init containers.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| pod["spec"][list].as_array().into_iter().flatten())
}

fn list(value: &Value) -> List {
    value
        .as_object()
        .into_iter()
        .flatten()
        .filter_map(|(name, value)| Some((name.clone(), Quantity::from_json(value).ok()?)))
        .collect()
}

fn set_defaults(pod: &mut Value, range: &Value) {
    let (mut requests, mut limits) = (List::new(), List::new());
    for limit in range["spec"]["limits"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|limit| limit["type"] == "Container")
    {
        requests.extend(list(&limit["defaultRequest"]));
        limits.extend(list(&limit["default"]));
    }
    let mut notes = Vec::new();
    for (field, word) in [
        ("containers", "container"),
        ("initContainers", "init container"),
    ] {
        for container in pod["spec"]
            .get_mut(field)
            .and_then(Value::as_array_mut)
            .into_iter()
            .flatten()
        {
            let name = container["name"].as_str().unwrap_or("").to_string();
            for (kind, defaults, what) in [
                ("requests", &requests, "request"),
                ("limits", &limits, "limit"),
            ] {
                let set = merge(container, kind, defaults);
                if !set.is_empty() {
                    notes.push(format!("{} {what} for {word} {name}", set.join(", ")));
                }
            }
        }
    }
    if !notes.is_empty() {
        let said = format!("LimitRanger plugin set: {}", notes.join("; "));
        child_mut(&mut pod["metadata"], "annotations").insert(ANNOTATION.into(), said.into());
    }
}

/// Sets what is absent; the names of what was set, sorted.
fn merge(container: &mut Value, kind: &str, defaults: &List) -> Vec<String> {
    let had = list(&container["resources"][kind]);
    let missing: Vec<String> = defaults
        .keys()
        .filter(|name| !had.contains_key(*name))
        .cloned()
        .collect();
    for name in &missing {
        container["resources"][kind][name.as_str()] = defaults[name].to_string().into();
    }
    missing
}

/// All containers at once, or the largest init container with the sidecars started before it.
fn pod_sum(pod: &Value, kind: &str) -> List {
    let add = |into: &mut List, from: &List| {
        from.iter().for_each(|(name, amount)| {
            into.entry(name.clone())
                .and_modify(|sum| sum.add(amount))
                .or_insert(amount.clone());
        });
    };
    let most = |into: &mut List, from: &List| {
        from.iter().for_each(|(name, amount)| {
            into.entry(name.clone())
                .and_modify(|had| *had = had.clone().max(amount.clone()))
                .or_insert(amount.clone());
        });
    };
    let each = |field: &'static str| pod["spec"][field].as_array().into_iter().flatten();
    let mut sum = List::new();
    each("containers").for_each(|container| add(&mut sum, &list(&container["resources"][kind])));
    let (mut sidecars, mut largest) = (List::new(), List::new());
    for container in each("initContainers") {
        let own = list(&container["resources"][kind]);
        if container["restartPolicy"] == "Always" {
            add(&mut sum, &own);
            add(&mut sidecars, &own);
            most(&mut largest, &sidecars);
        } else {
            let mut with = own;
            add(&mut with, &sidecars);
            most(&mut largest, &with);
        }
    }
    most(&mut sum, &largest);
    // what is said of the pod as a whole counts instead of the sum; not of huge pages here
    sum.extend(
        list(&pod["spec"]["resources"][kind])
            .into_iter()
            .filter(|(name, _)| matches!(name.as_str(), "cpu" | "memory")),
    );
    sum
}

fn bounds(limit: &Value, requests: &List, limits: &List, errors: &mut Vec<String>) {
    let of = limit["type"].as_str().unwrap_or("");
    for (name, enforced) in list(&limit["min"]) {
        errors.extend(minimum(of, &name, &enforced, requests, limits));
    }
    for (name, enforced) in list(&limit["max"]) {
        errors.extend(maximum(of, &name, &enforced, requests, limits));
    }
    for (name, enforced) in list(&limit["maxLimitRequestRatio"]) {
        errors.extend(ratio(of, &name, &enforced, requests, limits));
    }
}

fn minimum(
    of: &str,
    name: &str,
    enforced: &Quantity,
    requests: &List,
    limits: &List,
) -> Option<String> {
    let said = format!("minimum {name} usage per {of} is {enforced}");
    match (requests.get(name), limits.get(name)) {
        (None, _) => Some(format!("{said}.  No request is specified")),
        (Some(request), _) if request < enforced => {
            Some(format!("{said}, but request is {request}"))
        }
        (_, Some(limit)) if limit < enforced => Some(format!("{said}, but limit is {limit}")),
        _ => None,
    }
}

fn maximum(
    of: &str,
    name: &str,
    enforced: &Quantity,
    requests: &List,
    limits: &List,
) -> Option<String> {
    let said = format!("maximum {name} usage per {of} is {enforced}");
    match (requests.get(name), limits.get(name)) {
        (_, None) => Some(format!("{said}.  No limit is specified")),
        (_, Some(limit)) if limit > enforced => Some(format!("{said}, but limit is {limit}")),
        (Some(request), _) if request > enforced => {
            Some(format!("{said}, but request is {request}"))
        }
        _ => None,
    }
}

fn ratio(
    of: &str,
    name: &str,
    enforced: &Quantity,
    requests: &List,
    limits: &List,
) -> Option<String> {
    let said = format!("{name} max limit to request ratio per {of} is {enforced}");
    let there = |amount: Option<&Quantity>| {
        amount
            .filter(|amount| !amount.is_zero())
            .map(Quantity::as_f64)
    };
    let Some(request) = there(requests.get(name)) else {
        return Some(format!(
            "{said}, but no request is specified or request is 0"
        ));
    };
    let Some(limit) = there(limits.get(name)) else {
        return Some(format!("{said}, but no limit is specified or limit is 0"));
    };
    let provided = limit / request;
    (provided > enforced.as_f64()).then(|| format!("{said}, but provided ratio is {provided:.6}"))
}

fn claim(limit: &Value, requests: &List, errors: &mut Vec<String>) {
    const OF: &str = "PersistentVolumeClaim";
    for (name, enforced) in list(&limit["min"]) {
        errors.extend(minimum(OF, &name, &enforced, requests, &List::new()));
    }
    for (name, enforced) in list(&limit["max"]) {
        let said = format!("maximum {name} usage per {OF} is {enforced}");
        match requests.get(&name) {
            None => errors.push(format!("{said}.  No request is specified")),
            Some(request) if *request > enforced => {
                errors.push(format!("{said}, but request is {request}"))
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_set_and_noted() {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}});
        let range = json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "2", "memory": "1Gi"}, "defaultRequest": {"cpu": "1", "memory": "1Mi"}}]}});
        set_defaults(&mut pod, &range);
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}})
        );
        assert_eq!(
            pod["metadata"]["annotations"],
            json!({ANNOTATION: "LimitRanger plugin set: memory request for container c; cpu, memory limit for container c"})
        );
    }

    #[test]
    fn bounds_are_told() {
        let quantities = |value: Value| list(&value);
        for (limit, requests, limits, wanted) in [
            (
                json!({"type": "Pod", "min": {"cpu": "1"}}),
                json!({}),
                json!({}),
                "minimum cpu usage per Pod is 1.  No request is specified",
            ),
            (
                json!({"type": "Pod", "min": {"cpu": "1"}}),
                json!({"cpu": "500m"}),
                json!({}),
                "minimum cpu usage per Pod is 1, but request is 500m",
            ),
            (
                json!({"type": "Container", "max": {"cpu": "1"}}),
                json!({}),
                json!({"cpu": "2"}),
                "maximum cpu usage per Container is 1, but limit is 2",
            ),
            (
                json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "2"}}),
                json!({"cpu": "1"}),
                json!({"cpu": "3"}),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 3.000000",
            ),
        ] {
            let mut errors = Vec::new();
            bounds(
                &limit,
                &quantities(requests),
                &quantities(limits),
                &mut errors,
            );
            assert_eq!(errors, [wanted]);
        }
    }

    #[test]
    fn a_pod_needs_its_largest_moment() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("1");
        sidecar["restartPolicy"] = "Always".into();
        let pod = json!({"spec": {"containers": [container("1"), container("1")], "initContainers": [sidecar, container("4")]}});
        assert_eq!(pod_sum(&pod, "requests")["cpu"].to_string(), "5");
        let huge = json!({"resources": {"requests": {"hugepages-2Mi": "2Mi"}}});
        let whole = json!({"requests": {"cpu": "1", "hugepages-2Mi": "8Mi"}});
        let sum = pod_sum(
            &json!({"spec": {"containers": [huge], "resources": whole}}),
            "requests",
        );
        assert_eq!(
            (sum["cpu"].to_string(), sum["hugepages-2Mi"].to_string()),
            ("1".into(), "2Mi".into()),
            "of the pod as a whole"
        );
    }
}
