//! Defaults of `spec.resources`, the resources of a pod as a whole.
//!
//! Invariant: nothing is made up for a pod that asks for nothing as a whole. Follows `pkg/apis/core/v1/defaults.go`
//! (defaultHugePagePodLimits, defaultPodRequests).

use crate::kinds::fill::inner;
use crate::kinds::prelude::*;
use crate::kinds::validation::pod::resources::{HUGE_PAGES, aggregate, at_pod_level};

/// What is to be added to a list.
type Added = Vec<(String, Value)>;

/// Runs when the containers have got their defaults.
pub fn resources(spec: &mut Map<String, Value>) {
    let whole = Value::Object(std::mem::take(spec));
    let limits = huge_page_limits(&whole);
    let mut whole = whole;
    add(&mut whole, "limits", limits);
    let requests = requests(&whole);
    add(&mut whole, "requests", requests);
    if let Value::Object(map) = whole {
        *spec = map;
    }
}

fn add(spec: &mut Value, list: &str, added: Added) {
    let resources = spec
        .as_object_mut()
        .and_then(|spec| inner(spec, "resources"));
    let Some(resources) = resources.filter(|_| !added.is_empty()) else {
        return;
    };
    if let Some(list) = resources
        .entry(list)
        .or_insert_with(|| Value::Object(Map::new()))
        .as_object_mut()
    {
        list.extend(added);
    }
}

/// The containers' huge pages are the pod's, where it neither limits nor asks for them.
fn huge_page_limits(spec: &Value) -> Added {
    let resources = spec.at("resources");
    let (limits, requests) = (resources.at("limits"), resources.at("requests"));
    if resources.entries("limits").next().is_none()
        && resources.entries("requests").next().is_none()
    {
        return Added::new();
    }
    aggregate(spec, "limits")
        .into_iter()
        .filter(|(name, _)| {
            name.starts_with(HUGE_PAGES)
                && requests.some(name).is_none()
                && limits.some(name).is_none()
        })
        .map(|(name, amount)| (name.to_string(), amount.to_string().into()))
        .collect()
}

/// A pod with limits asks for what its containers ask for, else for its limits.
fn requests(spec: &Value) -> Added {
    let resources = spec.at("resources");
    if resources.entries("limits").next().is_none() {
        return Added::new();
    }
    let asked = resources.at("requests");
    let containers = aggregate(spec, "requests");
    let mut added: Added = containers
        .iter()
        .filter(|(name, _)| matches!(**name, "cpu" | "memory") && asked.some(name).is_none())
        .map(|(name, amount)| (name.to_string(), amount.to_string().into()))
        .collect();
    for (name, limit) in resources.entries("limits") {
        if asked.some(name).is_none()
            && at_pod_level(name)
            && !added.iter().any(|(other, _)| other == name)
        {
            added.push((name.to_string(), limit.clone()));
        }
    }
    added
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        for (given, wanted) in [
            (
                json!({"requests": {"cpu": "1"}}),
                json!({"limits": {"hugepages-2Mi": "4Mi"}, "requests": {"cpu": "1", "hugepages-2Mi": "4Mi"}}),
            ),
            (
                json!({"limits": {"cpu": "4", "memory": "1Gi"}}),
                json!({"limits": {"cpu": "4", "memory": "1Gi", "hugepages-2Mi": "4Mi"}, "requests": {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "4Mi"}}),
            ),
            (json!({}), json!({})),
        ] {
            let container = json!({"resources": {"requests": {"cpu": "1"}, "limits": {"hugepages-2Mi": "2Mi"}}});
            let mut spec = json!({"resources": given, "containers": [container, container]});
            resources(spec.as_object_mut().unwrap());
            assert_eq!(spec["resources"], wanted);
        }
    }
}
