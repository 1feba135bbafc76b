//! On which nodes a pod may be: its node selector, its required node affinity, and what it prefers.
//!
//! Invariant: a selector without terms, a term without requirements, and a term that cannot be read mean no node.
//! Follows `k8s.io/component-helpers/scheduling/corev1/nodeaffinity/nodeaffinity.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec,
};
use skiff_api::machinery::selector::{Operator, Requirement};

/// A requirement on a field; the name is the only one that nodes have.
#[derive(Debug)]
struct Field {
    is_name: bool,
    equals: bool,
    value: String,
}

/// Requirements, all of which must hold.
#[derive(Debug)]
pub struct Term {
    labels: Vec<Requirement>,
    fields: Vec<Field>,
}

fn label(requirement: &NodeSelectorRequirement) -> Option<Requirement> {
    let values = requirement
        .values
        .iter()
        .flatten()
        .map(|value| value.as_str().into())
        .collect();
    Requirement::new(
        &requirement.key,
        Operator::from_api(&requirement.operator)?,
        values,
    )
    .ok()
}

fn field(requirement: &NodeSelectorRequirement) -> Option<Field> {
    let equals = match requirement.operator.as_str() {
        "In" => true,
        "NotIn" => false,
        _ => return None,
    };
    let [value] = requirement.values.as_deref()? else {
        return None;
    };
    Some(Field {
        is_name: requirement.key == "metadata.name",
        equals,
        value: value.clone(),
    })
}

impl Term {
    /// None for one that means no node.
    pub fn read(term: &NodeSelectorTerm) -> Option<Term> {
        let labels: Vec<_> = term
            .match_expressions
            .iter()
            .flatten()
            .map(label)
            .collect::<Option<_>>()?;
        let fields: Vec<_> = term
            .match_fields
            .iter()
            .flatten()
            .map(field)
            .collect::<Option<_>>()?;
        (!labels.is_empty() || !fields.is_empty()).then_some(Term { labels, fields })
    }

    /// Whether it means the node.
    pub fn means(&self, node: &Node) -> bool {
        self.means_named(node, node.metadata.name.as_deref().unwrap_or(""))
    }

    /// Requirements on fields do not count for what has no name.
    fn means_named(&self, node: &Node, name: &str) -> bool {
        let labels = node.metadata.labels.as_ref();
        let holds =
            |field: &Field| (field.value == if field.is_name { name } else { "" }) == field.equals;
        self.labels
            .iter()
            .all(|requirement| requirement.matches(&labels))
            && (name.is_empty() || self.fields.iter().all(holds))
    }
}

/// Terms, one of which must hold.
#[derive(Debug)]
pub struct Terms(Vec<Term>);

impl Terms {
    pub fn read(selector: &NodeSelector) -> Terms {
        Terms(
            selector
                .node_selector_terms
                .iter()
                .filter_map(Term::read)
                .collect(),
        )
    }

    /// Whether one of them means the node.
    pub fn mean(&self, node: &Node) -> bool {
        self.0.iter().any(|term| term.means(node))
    }

    /// The same for terms that go by labels alone, as those of volumes do.
    pub fn mean_labels_of(&self, node: &Node) -> bool {
        self.0.iter().any(|term| term.means_named(node, ""))
    }
}

/// What a pod's node affinity says.
pub fn of_pod(spec: &PodSpec) -> Option<&NodeAffinity> {
    spec.affinity.as_ref()?.node_affinity.as_ref()
}

/// The terms of a pod's required node affinity.
pub fn required(spec: &PodSpec) -> Option<&NodeSelector> {
    of_pod(spec)?
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}

/// What a node must have for a pod.
#[derive(Debug)]
pub struct Required {
    labels: BTreeMap<String, String>,
    terms: Option<Terms>,
}

impl Required {
    pub fn read(spec: &PodSpec) -> Required {
        Required {
            labels: spec.node_selector.clone().unwrap_or_default(),
            terms: required(spec).map(Terms::read),
        }
    }

    /// Whether the pod may be on the node.
    pub fn admits(&self, node: &Node) -> bool {
        let has = |(key, value): (&String, &String)| {
            node.metadata
                .labels
                .as_ref()
                .and_then(|labels| labels.get(key))
                == Some(value)
        };
        self.labels.iter().all(has) && self.terms.as_ref().is_none_or(|terms| terms.mean(node))
    }
}

/// What a pod would like a node to have.
#[derive(Debug)]
pub struct Preferred(Vec<(i64, Term)>);

impl Preferred {
    pub fn read(spec: &PodSpec) -> Preferred {
        let given = of_pod(spec).and_then(|affinity| {
            affinity
                .preferred_during_scheduling_ignored_during_execution
                .as_ref()
        });
        let term = |(weight, term): (i32, &NodeSelectorTerm)| {
            Some((i64::from(weight), Term::read(term).filter(|_| weight != 0)?))
        };
        Preferred(
            given
                .into_iter()
                .flatten()
                .filter_map(|preferred| term((preferred.weight, &preferred.preference)))
                .collect(),
        )
    }

    /// The weights of what the node has.
    pub fn score(&self, node: &Node) -> i64 {
        self.0
            .iter()
            .filter(|(_, term)| term.means(node))
            .map(|(weight, _)| weight)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_value, json};

    use super::*;

    fn node() -> Node {
        from_value(json!({"metadata": {"name": "one", "labels": {"zone": "a", "cores": "8", "word": "x"}}})).unwrap()
    }

    #[test]
    fn one_requirement() {
        for (key, operator, values, wanted) in [
            ("zone", "In", json!(["a", "b"]), true),
            ("zone", "In", json!(["b"]), false),
            ("absent", "In", json!(["a"]), false),
            ("zone", "NotIn", json!(["a"]), false),
            ("absent", "NotIn", json!(["a"]), true),
            ("zone", "Exists", json!([]), true),
            ("absent", "Exists", json!([]), false),
            ("zone", "DoesNotExist", json!([]), false),
            ("absent", "DoesNotExist", json!([]), true),
            ("cores", "Gt", json!(["7"]), true),
            ("cores", "Gt", json!(["8"]), false),
            ("cores", "Lt", json!(["9"]), true),
            ("word", "Lt", json!(["9"]), false),
            ("absent", "Lt", json!(["9"]), false),
            // what cannot be read means no node
            ("cores", "Gt", json!(["few"]), false),
            ("cores", "Gt", json!(["1", "2"]), false),
            ("zone", "NotIn", json!([]), false),
            ("zone", "NotIn", json!(["-"]), false),
            ("zone", "Exists", json!(["a"]), false),
            ("zone", "Equals", json!(["a"]), false),
        ] {
            let term: NodeSelectorTerm = from_value(
                json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]}),
            )
            .unwrap();
            assert_eq!(
                Term::read(&term).is_some_and(|term| term.means(&node())),
                wanted,
                "{key} {operator} {values}"
            );
        }
    }

    #[test]
    fn fields() {
        for (key, operator, values, wanted) in [
            ("metadata.name", "In", json!(["one"]), true),
            ("metadata.name", "In", json!(["two"]), false),
            ("metadata.name", "NotIn", json!(["two"]), true),
            ("metadata.name", "NotIn", json!(["one"]), false),
            ("metadata.name", "In", json!(["one", "two"]), false),
            ("metadata.name", "Exists", json!([]), false),
            ("metadata.uid", "In", json!(["one"]), false),
        ] {
            let term: NodeSelectorTerm = from_value(
                json!({"matchFields": [{"key": key, "operator": operator, "values": values}]}),
            )
            .unwrap();
            assert_eq!(
                Term::read(&term).is_some_and(|term| term.means(&node())),
                wanted,
                "{key} {operator} {values}"
            );
        }
    }

    fn wants(key: &str) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": "Exists"}]})
    }

    #[test]
    fn what_a_pod_requires() {
        let unreadable =
            json!({"matchExpressions": [{"key": "cores", "operator": "Gt", "values": ["few"]}]});
        let elsewhere =
            json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["two"]}]});
        for (what, selector, terms, wanted) in [
            ("nothing", json!({}), Value::Null, true),
            ("a label", json!({"zone": "a"}), Value::Null, true),
            ("another", json!({"zone": "b"}), Value::Null, false),
            (
                "one of two",
                json!({}),
                json!([wants("absent"), wants("zone")]),
                true,
            ),
            (
                "both kinds",
                json!({"zone": "b"}),
                json!([wants("zone")]),
                false,
            ),
            ("no terms", json!({}), json!([]), false),
            ("an empty term", json!({}), json!([{}]), false),
            (
                "one that cannot be read",
                json!({}),
                json!([unreadable]),
                false,
            ),
            (
                "that beside one that fits",
                json!({}),
                json!([unreadable, wants("zone")]),
                true,
            ),
            ("another node", json!({}), json!([elsewhere]), false),
        ] {
            let required = if terms.is_null() {
                json!({})
            } else {
                json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}})
            };
            let spec = json!({"containers": [], "nodeSelector": selector, "affinity": {"nodeAffinity": required}});
            assert_eq!(
                Required::read(&from_value(spec).unwrap()).admits(&node()),
                wanted,
                "{what}"
            );
        }
        let terms = Terms::read(&from_value(json!({"nodeSelectorTerms": [elsewhere]})).unwrap());
        assert!(
            terms.mean_labels_of(&node()),
            "a volume's terms go by labels"
        );
    }

    #[test]
    fn what_a_pod_prefers() {
        let preferred = json!([{"weight": 3, "preference": wants("zone")}, {"weight": 4, "preference": wants("absent")},
            {"weight": 5, "preference": wants("cores")}, {"weight": 7, "preference": {}}]);
        let spec = json!({"containers": [], "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}});
        assert_eq!(
            Preferred::read(&from_value(spec).unwrap()).score(&node()),
            8
        );
    }
}
