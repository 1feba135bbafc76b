//! Node and pod affinity. Follows `pkg/apis/core/validation/validation.go` (validateAffinity).
//!
//! Invariant: preferred node terms may name label values that no node can have, required ones may not.

use super::{Options, topology};
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    dns_label, is_good, label_selector, label_values, qualified_name, subdomain,
};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

pub fn validate(affinity: Option<&Value>, options: &Options, path: &Path, errors: &mut Errors) {
    let Some(affinity) = affinity else { return };
    if let Some(node) = affinity.some("nodeAffinity") {
        node_affinity(node, options, &path.child("nodeAffinity"), errors);
    }
    for name in ["podAffinity", "podAntiAffinity"] {
        if let Some(pods) = affinity.some(name) {
            pod_affinity(pods, options, &path.child(name), errors);
        }
    }
}

fn node_affinity(affinity: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    if let Some(required) = affinity.some(REQUIRED) {
        node_selector(
            required,
            options.invalid_node_affinity_values,
            &path.child(REQUIRED),
            errors,
        );
    }
    let at = path.child(PREFERRED);
    for (index, term) in affinity.list(PREFERRED).iter().enumerate() {
        weight(term, &at.index(index), errors);
        node_selector_term(
            term.at("preference"),
            true,
            &at.index(index).child("preference"),
            errors,
        );
    }
}

fn weight(term: &Value, path: &Path, errors: &mut Errors) {
    let weight = term.int("weight");
    if !(1..=100).contains(&weight) {
        errors.invalid(&path.child("weight"), weight, "must be in the range 1-100");
    }
}

/// A `NodeSelector`.
pub fn node_selector(
    selector: &Value,
    allow_invalid_values: bool,
    path: &Path,
    errors: &mut Errors,
) {
    let at = path.child("nodeSelectorTerms");
    let terms = selector.list("nodeSelectorTerms");
    if terms.is_empty() {
        errors.required(&at, "must have at least one node selector term");
    }
    for (index, term) in terms.iter().enumerate() {
        node_selector_term(term, allow_invalid_values, &at.index(index), errors);
    }
}

fn node_selector_term(term: &Value, allow_invalid_values: bool, path: &Path, errors: &mut Errors) {
    for (index, requirement) in term.list("matchExpressions").iter().enumerate() {
        match_expression(
            requirement,
            allow_invalid_values,
            &path.child("matchExpressions").index(index),
            errors,
        );
    }
    for (index, requirement) in term.list("matchFields").iter().enumerate() {
        match_field(requirement, &path.child("matchFields").index(index), errors);
    }
}

fn match_expression(
    requirement: &Value,
    allow_invalid_values: bool,
    path: &Path,
    errors: &mut Errors,
) {
    let (operator, values) = (requirement.text("operator"), requirement.list("values"));
    let at = path.child("values");
    match operator {
        "In" | "NotIn" if values.is_empty() => {
            errors.required(&at, "must be specified when `operator` is 'In' or 'NotIn'")
        }
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.forbidden(
            &at,
            "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        "Gt" | "Lt" if values.len() != 1 => errors.required(
            &at,
            "must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" | "Gt" | "Lt" => {}
        _ => errors.invalid(
            &path.child("operator"),
            operator,
            "not a valid selector operator",
        ),
    }
    qualified_name(requirement.text("key"), &path.child("key"), errors);
    if !allow_invalid_values {
        label_values(requirement, &at, errors);
    }
}

fn match_field(requirement: &Value, path: &Path, errors: &mut Errors) {
    match requirement.text("operator") {
        "In" | "NotIn" => {
            if requirement.list("values").len() != 1 {
                errors.required(&path.child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector");
            }
        }
        operator => errors.invalid(
            &path.child("operator"),
            operator,
            "not a valid selector operator",
        ),
    }
    match requirement.text("key") {
        "metadata.name" => {
            for (index, name) in requirement.texts("values").enumerate() {
                subdomain(name, &path.child("values").index(index), errors);
            }
        }
        key => errors.invalid(&path.child("key"), key, "not a valid field selector key"),
    }
}

fn pod_affinity(affinity: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    for (index, term) in affinity.list(REQUIRED).iter().enumerate() {
        pod_term(term, options, &path.child(REQUIRED).index(index), errors);
    }
    let at = path.child(PREFERRED);
    for (index, weighted) in affinity.list(PREFERRED).iter().enumerate() {
        weight(weighted, &at.index(index), errors);
        pod_term(
            weighted.at("podAffinityTerm"),
            options,
            &at.index(index).child("podAffinityTerm"),
            errors,
        );
    }
}

fn term_selectors(term: &Value, allow_invalid_values: bool, path: &Path, errors: &mut Errors) {
    for name in ["labelSelector", "namespaceSelector"] {
        label_selector(
            term.some(name),
            allow_invalid_values,
            &path.child(name),
            errors,
        );
    }
}

fn pod_term(term: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    term_selectors(term, options.invalid_selector_values, path, errors);
    for namespace in term.texts("namespaces") {
        dns_label(namespace, &path.child("namespace"), errors);
    }
    topology::match_label_keys(term, path, errors);
    let key = term.text("topologyKey");
    if key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    qualified_name(key, &path.child("topologyKey"), errors);
}

/// The terms of pod affinity and anti-affinity.
fn pod_terms(spec: &Value) -> impl Iterator<Item = &Value> {
    ["podAffinity", "podAntiAffinity"]
        .into_iter()
        .flat_map(move |name| {
            let affinity = spec.at("affinity").at(name);
            affinity.list(REQUIRED).iter().chain(
                affinity
                    .list(PREFERRED)
                    .iter()
                    .map(|weighted| weighted.at("podAffinityTerm")),
            )
        })
}

/// Whether the selectors of pod affinity are good under the strict rules.
pub fn selectors_are_good(spec: &Value) -> bool {
    pod_terms(spec)
        .all(|term| is_good(|errors| term_selectors(term, false, &Path::new(""), errors)))
}

/// Whether required node affinity names possible label values.
pub fn required_values_are_good(spec: &Value) -> bool {
    let terms = spec
        .at("affinity")
        .at("nodeAffinity")
        .at(REQUIRED)
        .list("nodeSelectorTerms");
    terms
        .iter()
        .flat_map(|term| term.list("matchExpressions"))
        .all(|one| is_good(|errors| label_values(one, &Path::new(""), errors)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(affinity: Value) -> Vec<String> {
        Errors::of(|errors| {
            validate(
                Some(&affinity),
                &Options::default(),
                &Path::new("a"),
                errors,
            )
        })
        .texts()
    }

    #[test]
    fn node() {
        let term = |requirement: Value| json!({"nodeAffinity": {REQUIRED: {"nodeSelectorTerms": [{"matchExpressions": [requirement]}]}}});
        let at = |what: &str| {
            format!("a.nodeAffinity.{REQUIRED}.nodeSelectorTerms[0].matchExpressions[0].{what}")
        };
        for (requirement, wanted) in [
            (
                json!({"key": "a", "operator": "In", "values": ["b"]}),
                vec![],
            ),
            (
                json!({"key": "a", "operator": "In"}),
                vec![at(
                    "values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
                )],
            ),
            (
                json!({"key": "a", "operator": "Gt", "values": []}),
                vec![at(
                    "values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
                )],
            ),
            (
                json!({"key": "a", "operator": "x"}),
                vec![at(
                    "operator: Invalid value: \"x\": not a valid selector operator",
                )],
            ),
        ] {
            assert_eq!(said(term(requirement)), wanted);
        }
        assert_eq!(
            said(json!({"nodeAffinity": {REQUIRED: {}}})),
            [format!(
                "a.nodeAffinity.{REQUIRED}.nodeSelectorTerms: Required value: must have at least one node selector term"
            )]
        );
        assert!(
            said(
                json!({"nodeAffinity": {PREFERRED: [{"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b c"]}]}}]}})
            )
            .is_empty()
        );
    }

    #[test]
    fn pods() {
        let errors = said(
            json!({"podAntiAffinity": {PREFERRED: [{"weight": 101, "podAffinityTerm": {"matchLabelKeys": ["k"], "topologyKey": ""}}]}}),
        );
        assert_eq!(
            errors[0],
            format!(
                "a.podAntiAffinity.{PREFERRED}[0].weight: Invalid value: 101: must be in the range 1-100"
            )
        );
        assert_eq!(
            errors[1],
            format!(
                "a.podAntiAffinity.{PREFERRED}[0].podAffinityTerm.matchLabelKeys: Forbidden: must not be specified when labelSelector is not set"
            )
        );
        assert_eq!(
            errors[2],
            format!(
                "a.podAntiAffinity.{PREFERRED}[0].podAffinityTerm.topologyKey: Required value: can not be empty"
            )
        );
    }
}
