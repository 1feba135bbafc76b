//! Which nodes a pod's node selector and required node affinity admit.
//!
//! Invariant: pure; a selector without terms, and a term without requirements, admit nothing. Follows
//! k8s.io/component-helpers/scheduling/corev1/nodeaffinity.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec};

/// Whether the pod may be on the node as far as node selector and required affinity go.
pub fn admits(spec: &PodSpec, node: &Node) -> bool {
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let selected = spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let required = spec.affinity.as_ref().and_then(|a| a.node_affinity.as_ref()).and_then(|a| a.required_during_scheduling_ignored_during_execution.as_ref());
    selected && required.is_none_or(|selector| selector_admits(selector, node))
}

/// Whether one of the selector's terms fits the node.
pub fn selector_admits(selector: &NodeSelector, node: &Node) -> bool {
    selector.node_selector_terms.iter().any(|term| term_admits(term, node))
}

fn term_admits(term: &NodeSelectorTerm, node: &Node) -> bool {
    let count = |list: &Option<Vec<NodeSelectorRequirement>>| list.as_ref().map_or(0, Vec::len);
    if count(&term.match_expressions) + count(&term.match_fields) == 0 {
        return false;
    }
    let label = |key: &str| node.metadata.labels.as_ref().and_then(|l| l.get(key)).map(String::as_str);
    let field = |key: &str| if key == "metadata.name" { node.metadata.name.as_deref() } else { None };
    term.match_expressions.iter().flatten().all(|r| meets(r, label(&r.key))) && term.match_fields.iter().flatten().all(|r| meets(r, field(&r.key)))
}

fn meets(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or(&[]);
    let listed = |value: &str| values.iter().any(|v| v == value);
    let numbers = || Some((value?.parse::<i64>().ok()?, values.first()?.parse::<i64>().ok()?));
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => numbers().is_some_and(|(has, wants)| has > wants),
        "Lt" => numbers().is_some_and(|(has, wants)| has < wants),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms() {
        let mut node = Node::default();
        node.metadata.name = Some("one".into());
        node.metadata.labels = Some([("zone".to_string(), "a".to_string()), ("cores".to_string(), "8".to_string())].into());
        let term = |key: &str, operator: &str, values: &[&str], field: bool| {
            let requirement =
                NodeSelectorRequirement { key: key.into(), operator: operator.into(), values: Some(values.iter().map(ToString::to_string).collect()) };
            let (expressions, fields) = if field { (None, Some(vec![requirement])) } else { (Some(vec![requirement]), None) };
            NodeSelectorTerm { match_expressions: expressions, match_fields: fields }
        };
        for (term, expected) in [
            (term("zone", "In", &["a", "b"], false), true),
            (term("zone", "NotIn", &["a"], false), false),
            (term("absent", "NotIn", &["a"], false), true),
            (term("absent", "DoesNotExist", &[], false), true),
            (term("cores", "Gt", &["4"], false), true),
            (term("cores", "Lt", &["8"], false), false),
            (term("metadata.name", "In", &["one"], true), true),
            (NodeSelectorTerm::default(), false),
        ] {
            assert_eq!(term_admits(&term, &node), expected, "{term:?}");
        }
    }
}
