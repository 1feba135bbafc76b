//! `nodeSelector` and node affinity, required and preferred. Follows `plugins/nodeaffinity/node_affinity.go`.

use k8s_openapi::api::core::v1::{NodeAffinity, NodeSelectorRequirement, NodeSelectorTerm};

use crate::{
    cache::NodeInfo,
    framework::{Normalize, Plugin, Rejection, Score},
    pod::PodInfo,
};

pub const PLUGIN: Plugin =
    Plugin { name: "NodeAffinity", filter: Some(filter), score: Some(Score { weight: 2, score: preferred, normalize: Normalize::Scale }) };

fn affinity(pod: &PodInfo) -> Option<&NodeAffinity> {
    pod.pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

fn requirement(found: Option<&str>, requirement: &NodeSelectorRequirement) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = |found: &str| values.iter().any(|value| value == found);
    let number = |text: Option<&str>| text.and_then(|t| t.parse::<i64>().ok());
    let bound = number(values.first().map(String::as_str));
    match requirement.operator.as_str() {
        "In" => found.is_some_and(listed),
        "NotIn" => !found.is_some_and(listed),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => number(found).zip(bound).is_some_and(|(found, bound)| found > bound),
        "Lt" => number(found).zip(bound).is_some_and(|(found, bound)| found < bound),
        _ => false,
    }
}

/// A term without requirements matches nothing.
pub fn term(node: &NodeInfo, term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |key: &str| node.node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    expressions.iter().all(|r| requirement(label(&r.key), r)) && fields.iter().all(|r| requirement((r.key == "metadata.name").then_some(&*node.name), r))
}

fn filter(pod: &PodInfo, node: &NodeInfo) -> Option<Rejection> {
    let labels = node.node.metadata.labels.as_ref();
    let selector = pod.pod.spec.as_ref().and_then(|s| s.node_selector.as_ref());
    let selected = selector.into_iter().flatten().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
    let required = affinity(pod).and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    let matched = required.is_none_or(|required| required.node_selector_terms.iter().any(|t| term(node, t)));
    (!selected || !matched).then(|| Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"))
}

fn preferred(pod: &PodInfo, node: &NodeInfo) -> i64 {
    let terms = affinity(pod).and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
    terms.into_iter().flatten().filter(|p| term(node, &p.preference)).map(|p| i64::from(p.weight)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operators() {
        for (operator, values, found, wanted) in [
            ("In", vec!["a", "b"], Some("b"), true),
            ("In", vec!["a"], None, false),
            ("NotIn", vec!["a"], None, true),
            ("Exists", vec![], Some(""), true),
            ("DoesNotExist", vec![], Some("x"), false),
            ("Gt", vec!["3"], Some("4"), true),
            ("Lt", vec!["3"], Some("x"), false),
        ] {
            let values: Vec<String> = values.into_iter().map(String::from).collect();
            let r = NodeSelectorRequirement { key: "k".into(), operator: operator.into(), values: Some(values) };
            assert_eq!(requirement(found, &r), wanted, "{operator}");
        }
    }
}
