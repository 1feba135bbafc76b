//! `nodeSelector` and node affinity, required and preferred. Follows `plugins/nodeaffinity/node_affinity.go` and
//! `component-helpers/scheduling/corev1/nodeaffinity`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{Node, NodeAffinity as Wishes, NodeSelectorRequirement, NodeSelectorTerm};

use crate::{
    framework::{self, ClusterEvent, First, Plugin, Rejection, State, View},
    node::NodeInfo,
    pod::PodInfo,
};

pub struct NodeAffinity;

fn affinity(pod: &PodInfo) -> Option<&Wishes> {
    pod.pod.spec.as_ref()?.affinity.as_ref()?.node_affinity.as_ref()
}

fn required(pod: &PodInfo) -> Option<&[NodeSelectorTerm]> {
    Some(&affinity(pod)?.required_during_scheduling_ignored_during_execution.as_ref()?.node_selector_terms)
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

/// Whether a term means the node. One without requirements means none.
pub fn term(node: &Node, term: &NodeSelectorTerm) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|labels| labels.get(key)).map(String::as_str);
    let field = |key: &str| node.metadata.name.as_deref().filter(|_| key == "metadata.name");
    expressions.iter().all(|r| requirement(label(&r.key), r)) && fields.iter().all(|r| requirement(field(&r.key), r))
}

/// Whether the pod's `nodeSelector` and its required affinity let it onto the node.
pub fn matches(pod: &PodInfo, node: &Node) -> bool {
    let labels = node.metadata.labels.as_ref();
    let selector = pod.pod.spec.as_ref().and_then(|s| s.node_selector.as_ref());
    let selected = selector.into_iter().flatten().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value));
    selected && required(pod).is_none_or(|terms| terms.iter().any(|t| term(node, t)))
}

/// The nodes that all terms name; none when one of them names none.
fn named(terms: &[NodeSelectorTerm]) -> Option<BTreeSet<String>> {
    let of_term = |term: &NodeSelectorTerm| {
        let fields = term.match_fields.iter().flatten().filter(|field| field.key == "metadata.name" && field.operator == "In");
        let sets = fields.map(|field| field.values.iter().flatten().cloned().collect::<BTreeSet<_>>());
        sets.reduce(|a, b| &a & &b)
    };
    let sets: Option<Vec<_>> = terms.iter().map(of_term).collect();
    sets.filter(|sets| !sets.is_empty()).map(|sets| sets.into_iter().flatten().collect())
}

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn pre_filter(&self, _: View, pod: &PodInfo, _: &mut State) -> First {
        let terms = required(pod);
        if terms.is_none() && pod.pod.spec.as_ref().is_none_or(|spec| spec.node_selector.is_none()) {
            return First::Skip;
        }
        match terms.and_then(named) {
            None => First::Any,
            Some(names) if names.is_empty() => First::No(Rejection::unresolvable("pod affinity terms conflict")),
            Some(names) => First::Only(names),
        }
    }

    fn filter(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        match matches(pod, &node.node) {
            true => Ok(()),
            false => Err(Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector")),
        }
    }

    fn weight(&self) -> i64 {
        2
    }

    fn pre_score(&self, _: View, pod: &PodInfo, _: &mut State, _: &[&NodeInfo]) -> bool {
        affinity(pod).is_some_and(|a| a.preferred_during_scheduling_ignored_during_execution.is_some())
    }

    fn score(&self, _: View, _: &State, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let terms = affinity(pod).and_then(|a| a.preferred_during_scheduling_ignored_during_execution.as_ref());
        terms.into_iter().flatten().filter(|p| term(&node.node, &p.preference)).map(|p| i64::from(p.weight)).sum()
    }

    fn normalize(&self, _: &State, scores: &mut [i64]) {
        framework::normalize(scores, false);
    }

    fn hopes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        match event {
            ClusterEvent::NodeAdded(node) => matches(pod, node),
            ClusterEvent::NodeUpdated { old, new } => !matches(pod, old) && matches(pod, new),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn nodes_by_name() {
        let field = |names: &[&str]| json!({"key": "metadata.name", "operator": "In", "values": names});
        for (terms, wanted) in [
            (json!([{"matchFields": [field(&["a", "b"])]}]), Some(vec!["a", "b"])),
            (json!([{"matchFields": [field(&["a", "b"]), field(&["b"])]}, {"matchFields": [field(&["c"])]}]), Some(vec!["b", "c"])),
            (json!([{"matchFields": [field(&["a"]), field(&["b"])]}]), Some(vec![])),
            (json!([{"matchFields": [field(&["a"])]}, {"matchExpressions": [{"key": "k", "operator": "Exists"}]}]), None),
            (json!([]), None),
        ] {
            let read: Vec<NodeSelectorTerm> = serde_json::from_value(terms.clone()).unwrap();
            assert_eq!(named(&read).map(|names| names.into_iter().collect::<Vec<_>>()), wanted.map(|w| w.into_iter().map(String::from).collect()), "{terms}");
        }
    }
}
