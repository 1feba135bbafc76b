//! LimitRanger: a namespace's limits become defaults of containers, and bounds of pods, containers and claims.
//!
//! Follows `plugin/pkg/admission/limitranger/admission.go`.

use async_trait::async_trait;
use serde_json::Value;
use skiff_api::{
    kinds::{rows::core::pod::pod_level, validation::pod::containers::is_sidecar},
    machinery::{
        aggregate::aggregate,
        amounts::peak,
        meta::{Meta, child_mut},
        quantity::Quantity,
        read::Read,
        status::Status,
    },
};

use super::{
    amounts::{self, Amounts, Unreadable},
    plugin::{Attributes, Operation, Plugin},
};

const ANNOTATION: &str = "kubernetes.io/limit-ranger";
const LIMIT_RANGES: &str = "limitranges";
const CLAIMS: &str = "persistentvolumeclaims";

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
        let claims = attributes.is_one(&[Operation::Create, Operation::Update], "", CLAIMS);
        (pods || resized || claims) && !attributes.old.is_some_and(Meta::is_deleting)
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        if attributes.kind.plural != "pods" {
            return Ok(());
        }
        for range in attributes.list(LIMIT_RANGES, Some(attributes.namespace))? {
            if let Some(pod) = attributes.object.as_mut() {
                set_defaults(pod, &range)?;
            }
        }
        Ok(())
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let Some(object) = &attributes.object else {
            return Ok(());
        };
        let pods = attributes.kind.plural == "pods";
        for range in attributes.list(LIMIT_RANGES, Some(attributes.namespace))? {
            let mut errors = Vec::new();
            for limit in range.at("spec").list("limits") {
                match limit.text("type") {
                    "Container" if pods => {
                        for container in containers(object) {
                            let resources = container.at("resources");
                            let (requests, limits) = (
                                amounts::read(resources.at("requests"))?,
                                amounts::read(resources.at("limits"))?,
                            );
                            bounds(limit, &requests, &limits, &mut errors)?;
                        }
                    }
                    "Pod" if pods => {
                        let (requests, limits) =
                            (pod_sum(object, "requests")?, pod_sum(object, "limits")?);
                        bounds(limit, &requests, &limits, &mut errors)?;
                    }
                    "PersistentVolumeClaim" if !pods => {
                        let resources = object.at("spec").at("resources");
                        let requests = amounts::read(resources.at("requests"))?;
                        claim(limit, &requests, &mut errors)?;
                    }
                    _ => {}
                }
            }
            if let Some(errors) = aggregate(errors) {
                return Err(attributes.forbidden(errors));
            }
        }
        Ok(())
    }
}

/// Containers first, then init containers.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    let spec = pod.at("spec");
    ["containers", "initContainers"]
        .into_iter()
        .flat_map(|list| spec.list(list))
}

fn set_defaults(pod: &mut Value, range: &Value) -> Result<(), Unreadable> {
    let (mut requests, mut limits) = (Amounts::new(), Amounts::new());
    for limit in range.at("spec").list("limits") {
        if limit.text("type") == "Container" {
            requests.extend(amounts::read(limit.at("defaultRequest"))?);
            limits.extend(amounts::read(limit.at("default"))?);
        }
    }
    let mut notes = Vec::new();
    for (field, word) in [
        ("containers", "container"),
        ("initContainers", "init container"),
    ] {
        let list = child_mut(pod, "spec").get_mut(field);
        for container in list.and_then(Value::as_array_mut).into_iter().flatten() {
            let name = container.text("name").to_string();
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
        let spec = child_mut(pod, "spec");
        if spec.contains_key("resources") {
            // what was set is asked for by the pod as a whole, too
            pod_level::resources(spec);
        }
    }
    Ok(())
}

/// Sets what is absent; the names of what was set, sorted.
fn merge(container: &mut Value, kind: &str, defaults: &Amounts) -> Vec<String> {
    let mut set = Vec::new();
    for (name, amount) in defaults {
        if container.at("resources").at(kind).get(name).is_none() {
            container["resources"][kind][name.as_str()] = amount.to_string().into();
            set.push(name.clone());
        }
    }
    set
}

/// What the containers need together; what is said of the pod as a whole instead of that.
fn pod_sum(pod: &Value, kind: &str) -> Result<Amounts, Unreadable> {
    let spec = pod.at("spec");
    let of = |container: &Value| amounts::read(container.at("resources").at(kind));
    let first = spec.list("initContainers").iter();
    let mut sum = peak(
        spec.list("containers").iter().map(of),
        first.map(|container| (is_sidecar(container), of(container))),
    )?;
    // what is said of the pod as a whole counts instead of the sum; not of huge pages here
    let whole = amounts::read(spec.at("resources").at(kind))?;
    let counted = |name: &String| matches!(name.as_str(), "cpu" | "memory");
    sum.extend(whole.into_iter().filter(|(name, _)| counted(name)));
    Ok(sum)
}

/// What is wrong with a request and a limit, by a bound of a resource.
type Check = fn(&str, &Quantity, Option<&Quantity>, Option<&Quantity>) -> Option<String>;

fn bounds(
    limit: &Value,
    requests: &Amounts,
    limits: &Amounts,
    errors: &mut Vec<String>,
) -> Result<(), Unreadable> {
    let of = limit.text("type");
    let checks: [(&str, &str, Check); 3] = [
        ("min", "minimum {} usage", minimum),
        ("max", "maximum {} usage", maximum),
        (
            "maxLimitRequestRatio",
            "{} max limit to request ratio",
            ratio,
        ),
    ];
    for (field, said, check) in checks {
        for (name, bound) in amounts::read(limit.at(field))? {
            let said = format!("{} per {of} is {bound}", said.replace("{}", &name));
            errors.extend(check(&said, &bound, requests.get(&name), limits.get(&name)));
        }
    }
    Ok(())
}

fn minimum(
    said: &str,
    bound: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    match (request, limit) {
        (None, _) => Some(format!("{said}.  No request is specified")),
        (Some(request), _) if request < bound => Some(format!("{said}, but request is {request}")),
        (_, Some(limit)) if limit < bound => Some(format!("{said}, but limit is {limit}")),
        _ => None,
    }
}

fn maximum(
    said: &str,
    bound: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    match (request, limit) {
        (_, None) => Some(format!("{said}.  No limit is specified")),
        (_, Some(limit)) if limit > bound => Some(format!("{said}, but limit is {limit}")),
        (Some(request), _) if request > bound => Some(format!("{said}, but request is {request}")),
        _ => None,
    }
}

fn ratio(
    said: &str,
    bound: &Quantity,
    request: Option<&Quantity>,
    limit: Option<&Quantity>,
) -> Option<String> {
    let there = |amount: Option<&Quantity>| {
        amount
            .filter(|amount| !amount.is_zero())
            .map(Quantity::as_f64)
    };
    let absent = |what: &str| Some(format!("{said}, but no {what} is specified or {what} is 0"));
    let Some(request) = there(request) else {
        return absent("request");
    };
    let Some(limit) = there(limit) else {
        return absent("limit");
    };
    let provided = limit / request;
    (provided > bound.as_f64()).then(|| format!("{said}, but provided ratio is {provided:.6}"))
}

fn claim(limit: &Value, requests: &Amounts, errors: &mut Vec<String>) -> Result<(), Unreadable> {
    const OF: &str = "PersistentVolumeClaim";
    for (name, bound) in amounts::read(limit.at("min"))? {
        let said = format!("minimum {name} usage per {OF} is {bound}");
        errors.extend(minimum(&said, &bound, requests.get(&name), None));
    }
    for (name, bound) in amounts::read(limit.at("max"))? {
        let said = format!("maximum {name} usage per {OF} is {bound}");
        match requests.get(&name) {
            None => errors.push(format!("{said}.  No request is specified")),
            Some(request) if *request > bound => {
                errors.push(format!("{said}, but request is {request}"))
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn defaults_are_set_and_noted() {
        let mut pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "resources": {"requests": {"cpu": "1"}}}]}});
        let range = json!({"spec": {"limits": [{"type": "Container", "default": {"cpu": "2", "memory": "1Gi"}, "defaultRequest": {"cpu": "1", "memory": "1Mi"}}]}});
        set_defaults(&mut pod, &range).unwrap();
        assert_eq!(
            pod["spec"]["containers"][0]["resources"],
            json!({"requests": {"cpu": "1", "memory": "1Mi"}, "limits": {"cpu": "2", "memory": "1Gi"}})
        );
        assert_eq!(
            pod["metadata"]["annotations"],
            json!({ANNOTATION: "LimitRanger plugin set: memory request for container c; cpu, memory limit for container c"})
        );
        pod["spec"]["resources"] = json!({"limits": {"cpu": "4"}, "requests": {"cpu": "4"}});
        pod["spec"]["containers"][0]["resources"] = json!({});
        set_defaults(&mut pod, &range).unwrap();
        let whole = json!({"cpu": "4", "memory": "1Mi"});
        assert_eq!(pod["spec"]["resources"]["requests"], whole);
    }

    #[test]
    fn bounds_are_told() {
        let quantities = |value: Value| amounts::read(&value).unwrap();
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
            )
            .unwrap();
            assert_eq!(errors, [wanted]);
        }
    }

    #[test]
    fn a_limit_that_cannot_be_read_is_no_limit_less() {
        let odd = json!({"type": "Container", "min": {"cpu": "few"}, "default": {"cpu": "few"}});
        let none = Amounts::new();
        let error = bounds(&odd, &none, &none, &mut Vec::new()).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("the quantity \"few\" of cpu cannot be read")
        );
        let range = json!({"spec": {"limits": [odd]}});
        assert!(set_defaults(&mut json!({"spec": {"containers": [{}]}}), &range).is_err());
    }

    #[test]
    fn a_pod_needs_its_largest_moment() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let mut sidecar = container("1");
        sidecar["restartPolicy"] = "Always".into();
        let pod = json!({"spec": {"containers": [container("1"), container("1")], "initContainers": [sidecar, container("4")]}});
        assert_eq!(pod_sum(&pod, "requests").unwrap()["cpu"].to_string(), "5");
        let huge = json!({"resources": {"requests": {"hugepages-2Mi": "2Mi"}}});
        let whole = json!({"requests": {"cpu": "1", "hugepages-2Mi": "8Mi"}});
        let sum = pod_sum(
            &json!({"spec": {"containers": [huge], "resources": whole}}),
            "requests",
        )
        .unwrap();
        assert_eq!(
            (sum["cpu"].to_string(), sum["hugepages-2Mi"].to_string()),
            ("1".into(), "2Mi".into()),
            "of the pod as a whole"
        );
    }
}
