//! On which nodes a pod may be: its node selector, its required node affinity, and what it prefers.
//!
//! Invariant: a selector without terms, a term without requirements, and a required term that cannot be read mean no node;
//! a preferred one that cannot be read is an error.
//! Follows `k8s.io/component-helpers/scheduling/corev1/nodeaffinity/nodeaffinity.go`.

use std::collections::BTreeMap;

use crate::{parts::Meta, pod::AnySpec};
use k8s_openapi::api::core::v1::{
    Node, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm,
};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    aggregate::aggregate,
    selector::{Operator, Requirement},
};

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

/// Why terms cannot be read: upstream's words for each fault.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", aggregate(.0).unwrap_or_default())]
pub struct UnreadableTerms(Vec<String>);

fn label(requirement: &NodeSelectorRequirement) -> Result<Requirement, Vec<String>> {
    let values = requirement.values.iter().flatten();
    let values = values.map(|value| value.as_str().into()).collect();
    match Operator::from_api(&requirement.operator) {
        Some(operator) => Requirement::checked(&requirement.key, operator, values),
        None => Err(vec![unsupported(
            requirement,
            "\"In\", \"NotIn\", \"Exists\", \"DoesNotExist\", \"Gt\", \"Lt\"",
        )]),
    }
}

fn field(requirement: &NodeSelectorRequirement) -> Result<Field, Vec<String>> {
    let equals = match requirement.operator.as_str() {
        "In" => true,
        "NotIn" => false,
        _ => return Err(vec![unsupported(requirement, "\"In\", \"NotIn\"")]),
    };
    let values = requirement.values.as_deref().unwrap_or_default();
    let [value] = values else {
        return Err(vec![format!(
            "values: Invalid value: {values:?}: must have one element"
        )]);
    };
    Ok(Field {
        is_name: requirement.key == "metadata.name",
        equals,
        value: value.clone(),
    })
}

fn unsupported(requirement: &NodeSelectorRequirement, supported: &str) -> String {
    format!(
        "operator: Unsupported value: {}: supported values: {supported}",
        GoQuoted(&requirement.operator)
    )
}

/// All requirements of one field of a term, or what is wrong with them.
fn all<T>(
    place: &str,
    requirements: Option<&Vec<NodeSelectorRequirement>>,
    read: fn(&NodeSelectorRequirement) -> Result<T, Vec<String>>,
    faults: &mut Vec<String>,
) -> Vec<T> {
    let mut found = Vec::new();
    for (at, requirement) in requirements.into_iter().flatten().enumerate() {
        match read(requirement) {
            Ok(one) => found.push(one),
            Err(wrong) => faults.extend(wrong.iter().map(|fault| format!("{place}[{at}].{fault}"))),
        }
    }
    found
}

impl Term {
    /// `None` for one without requirements, which means no node; else what is wrong with it.
    fn read(term: &NodeSelectorTerm) -> Result<Option<Term>, Vec<String>> {
        let mut faults = Vec::new();
        let labels = all(
            "matchExpressions",
            term.match_expressions.as_ref(),
            label,
            &mut faults,
        );
        let fields = all(
            "matchFields",
            term.match_fields.as_ref(),
            field,
            &mut faults,
        );
        if !faults.is_empty() {
            return Err(faults);
        }
        Ok((!labels.is_empty() || !fields.is_empty()).then_some(Term { labels, fields }))
    }

    /// Whether it means the node.
    pub fn means(&self, node: &Node) -> bool {
        self.means_named(node, node.metadata.name())
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
        let terms = selector.node_selector_terms.iter();
        Terms(
            terms
                .filter_map(|term| Term::read(term).ok().flatten())
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
pub fn of_pod(spec: &impl AnySpec) -> Option<&NodeAffinity> {
    spec.affinity().as_ref()?.node_affinity.as_ref()
}

/// The terms of a pod's required node affinity.
pub fn required(spec: &impl AnySpec) -> Option<&NodeSelector> {
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
    pub fn read(spec: &impl AnySpec) -> Required {
        Required {
            labels: spec.node_selector().clone().unwrap_or_default(),
            terms: required(spec).map(Terms::read),
        }
    }

    /// Whether the pod may be on the node.
    pub fn admits(&self, node: &Node) -> bool {
        let has = |(key, value): (&String, &String)| node.metadata.label(key) == Some(value);
        self.labels.iter().all(has) && self.terms.as_ref().is_none_or(|terms| terms.mean(node))
    }
}

/// What a pod would like a node to have.
#[derive(Debug)]
pub struct Preferred(Vec<(i64, Term)>);

impl Preferred {
    /// Unlike a required term, one that cannot be read is an error.
    pub fn read(spec: &impl AnySpec) -> Result<Preferred, UnreadableTerms> {
        let given = of_pod(spec).into_iter();
        let given = given.flat_map(|a| {
            a.preferred_during_scheduling_ignored_during_execution
                .iter()
                .flatten()
        });
        let (mut terms, mut faults) = (Vec::new(), Vec::new());
        for (at, one) in given.enumerate().filter(|(_, one)| one.weight != 0) {
            match Term::read(&one.preference) {
                Ok(term) => terms.extend(term.map(|term| (i64::from(one.weight), term))),
                Err(wrong) => faults.extend(wrong.iter().map(|fault| format!("[{at}].{fault}"))),
            }
        }
        if faults.is_empty() {
            Ok(Preferred(terms))
        } else {
            Err(UnreadableTerms(faults))
        }
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
    use k8s_openapi::api::core::v1::PodSpec;
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
                Term::read(&term).is_ok_and(|term| term.is_some_and(|term| term.means(&node()))),
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
                Term::read(&term).is_ok_and(|term| term.is_some_and(|term| term.means(&node()))),
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
        #[rustfmt::skip]
        let cases = [
            ("nothing", json!({}), Value::Null, true),
            ("a label", json!({"zone": "a"}), Value::Null, true),
            ("another", json!({"zone": "b"}), Value::Null, false),
            ("one of two", json!({}), json!([wants("absent"), wants("zone")]), true),
            ("both kinds", json!({"zone": "b"}), json!([wants("zone")]), false),
            ("no terms", json!({}), json!([]), false),
            ("an empty term", json!({}), json!([{}]), false),
            ("one that cannot be read", json!({}), json!([unreadable]), false),
            ("that beside one that fits", json!({}), json!([unreadable, wants("zone")]), true),
            ("another node", json!({}), json!([elsewhere]), false),
        ];
        for (what, selector, terms, wanted) in cases {
            let required = if terms.is_null() {
                json!({})
            } else {
                json!({"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}})
            };
            let spec = json!({"containers": [], "nodeSelector": selector, "affinity": {"nodeAffinity": required}});
            assert_eq!(
                Required::read(&from_value::<PodSpec>(spec).unwrap()).admits(&node()),
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
        let score =
            |spec| Preferred::read(&from_value::<PodSpec>(spec).unwrap()).map(|p| p.score(&node()));
        assert_eq!(score(spec).unwrap(), 8);
        let few = |values: Value| json!({"matchExpressions": [{"key": "cores", "operator": "Gt", "values": values}]});
        let integer = "for 'Gt', 'Lt' operators, the value must be an integer";
        for (preferred, wanted) in [
            (
                json!([{"weight": 0, "preference": few(json!(["few"]))}]),
                String::new(),
            ),
            (
                json!([{"weight": 1, "preference": wants("zone")}, {"weight": 1, "preference": few(json!(["few"]))}]),
                format!("[1].matchExpressions[0].values[0]: Invalid value: \"few\": {integer}"),
            ),
            (
                json!([{"weight": 1, "preference": few(json!(["a", "b"]))}]),
                format!(
                    "[[0].matchExpressions[0].values: Invalid value: [\"a\",\"b\"]: for 'Gt', 'Lt' operators, exactly one value is required, \
                     [0].matchExpressions[0].values[0]: Invalid value: \"a\": {integer}, [0].matchExpressions[0].values[1]: Invalid value: \"b\": {integer}]"
                ),
            ),
        ] {
            let spec = json!({"containers": [], "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}});
            let found = score(spec).map_or_else(|error| error.to_string(), |_| String::new());
            assert_eq!(found, wanted);
        }
    }
}
