//! `matchLabelKeys` and `mismatchLabelKeys` become requirements of the selectors beside them, with the values of the pod's own labels.
//!
//! Invariant: runs once, on create. Follows `pkg/registry/core/pod/strategy.go` (mutatePodAffinity, mutateTopologySpreadConstraints).

use crate::kinds::prelude::*;

pub fn apply(pod: &mut Value) {
    let Some(labels) = pod.at("metadata").some("labels").cloned() else {
        return;
    };
    let spec = &mut pod["spec"];
    for name in ["podAffinity", "podAntiAffinity"] {
        let Some(affinity) = spec
            .get_mut("affinity")
            .and_then(|affinity| affinity.get_mut(name))
        else {
            continue;
        };
        for weighted in list(affinity, "preferredDuringSchedulingIgnoredDuringExecution") {
            if let Some(term) = weighted.get_mut("podAffinityTerm") {
                fill(term, &labels);
            }
        }
        for term in list(affinity, "requiredDuringSchedulingIgnoredDuringExecution") {
            fill(term, &labels);
        }
    }
    for constraint in list(spec, "topologySpreadConstraints") {
        fill(constraint, &labels);
    }
}

fn list<'v>(owner: &'v mut Value, name: &str) -> impl Iterator<Item = &'v mut Value> {
    owner
        .get_mut(name)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn fill(owner: &mut Value, labels: &Value) {
    let keys = [("matchLabelKeys", "In"), ("mismatchLabelKeys", "NotIn")]
        .into_iter()
        .flat_map(|(name, operator)| owner.texts(name).map(move |key| (key, operator)));
    let made: Vec<Value> = keys
        .filter_map(|(key, operator)| {
            labels
                .text_ptr(key)
                .map(|value| json!({"key": key, "operator": operator, "values": [value]}))
        })
        .collect();
    // no selector selects nothing, with or without more requirements
    let Some(selector) = owner
        .get_mut("labelSelector")
        .and_then(Value::as_object_mut)
        .filter(|_| !made.is_empty())
    else {
        return;
    };
    if let Some(requirements) = selector
        .entry("matchExpressions")
        .or_insert_with(|| json!([]))
        .as_array_mut()
    {
        requirements.extend(made);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_the_pod() {
        let mut pod = json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"topologySpreadConstraints": [
            {"matchLabelKeys": ["a", "x"], "labelSelector": {}}, {"matchLabelKeys": ["a"]}],
            "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"mismatchLabelKeys": ["b"], "labelSelector": {}}]}}}});
        apply(&mut pod);
        let constraints = &pod["spec"]["topologySpreadConstraints"];
        assert_eq!(
            constraints[0]["labelSelector"]["matchExpressions"],
            json!([{"key": "a", "operator": "In", "values": ["1"]}])
        );
        assert!(constraints[1].get("labelSelector").is_none());
        let term = &pod["spec"]["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
            [0];
        assert_eq!(
            term["labelSelector"]["matchExpressions"][0]["operator"],
            "NotIn"
        );
    }
}
