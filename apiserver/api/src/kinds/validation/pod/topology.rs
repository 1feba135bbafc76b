//! Topology spread constraints, and the keys of labels whose values a pod's own labels fill in.
//!
//! Invariant: a key does not stand both in the selector and in `matchLabelKeys`.
//! Follows `pkg/apis/core/validation/validation.go` (validateTopologySpreadConstraints).

use super::Options;
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{is_good, label_selector, one_of, qualified_name};

const POSITIVE: &str = "must be greater than zero";
const TWICE: &str = "exists in both matchLabelKeys and labelSelector";

pub fn validate(constraints: &[Value], options: &Options, path: &Path, errors: &mut Errors) {
    for (index, constraint) in constraints.iter().enumerate() {
        let at = path.index(index);
        one(constraint, &constraints[index + 1..], &at, errors);
        if options.legacy_match_label_keys {
            legacy_match_label_keys(constraint, &at.child("matchLabelKeys"), errors);
        } else {
            match_label_keys_of(constraint, false, &at, errors);
        }
        if !options.invalid_spread_selector {
            label_selector(
                constraint.some("labelSelector"),
                false,
                &at.child("labelSelector"),
                errors,
            );
        }
    }
}

fn one(constraint: &Value, rest: &[Value], path: &Path, errors: &mut Errors) {
    let (skew, key, action) = (
        constraint.int("maxSkew"),
        constraint.text("topologyKey"),
        constraint.text("whenUnsatisfiable"),
    );
    if skew <= 0 {
        errors.invalid(&path.child("maxSkew"), skew, POSITIVE);
    }
    if key.is_empty() {
        errors.required(&path.child("topologyKey"), "can not be empty");
    }
    one_of(
        action,
        &["DoNotSchedule", "ScheduleAnyway"],
        &path.child("whenUnsatisfiable"),
        errors,
    );
    if rest
        .iter()
        .any(|other| other.text("topologyKey") == key && other.text("whenUnsatisfiable") == action)
    {
        errors.duplicate(
            &path.child("{topologyKey, whenUnsatisfiable}"),
            format!("{{{key}, {action}}}"),
        );
    }
    if let Some(domains) = constraint.int_ptr("minDomains") {
        let at = path.child("minDomains");
        if domains <= 0 {
            errors.invalid(&at, domains, POSITIVE);
        }
        if action != "DoNotSchedule" {
            errors.invalid(
                &at,
                domains,
                format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}"),
            );
        }
    }
    for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
        if let Some(policy) = constraint.text_ptr(name) {
            one_of(policy, &["Honor", "Ignore"], &path.child(name), errors);
        }
    }
}

/// `matchLabelKeys` and `mismatchLabelKeys` of a pod affinity term.
pub fn match_label_keys(term: &Value, path: &Path, errors: &mut Errors) {
    match_label_keys_of(term, true, path, errors);
}

fn match_label_keys_of(owner: &Value, mismatch: bool, path: &Path, errors: &mut Errors) {
    let selector = owner.some("labelSelector");
    let names: &[&str] = if mismatch {
        &["matchLabelKeys", "mismatchLabelKeys"]
    } else {
        &["matchLabelKeys"]
    };
    for name in names {
        label_keys(owner, name, selector, &path.child(name), errors);
    }
    let keys = owner.list("matchLabelKeys");
    if let Some(selector) = selector {
        // the selector has got the requirements made from the keys already: a second one of the same key is the client's own
        let mut seen: Vec<&str> = selector
            .entries("matchLabels")
            .map(|(key, _)| key)
            .collect();
        for requirement in selector.list("matchExpressions") {
            let key = requirement.text("key");
            if let Some(index) = keys
                .iter()
                .rposition(|given| given == key)
                .filter(|_| seen.contains(&key))
            {
                errors.invalid(&path.index(index), key, TWICE);
            }
            seen.push(key);
        }
    }
    for (index, key) in keys
        .iter()
        .enumerate()
        .filter(|(_, key)| mismatch && owner.list("mismatchLabelKeys").contains(key))
    {
        errors.invalid(
            &path.child("matchLabelKeys").index(index),
            key.clone(),
            "exists in both matchLabelKeys and mismatchLabelKeys",
        );
    }
}

fn label_keys(
    owner: &Value,
    name: &str,
    selector: Option<&Value>,
    path: &Path,
    errors: &mut Errors,
) {
    if owner.list(name).is_empty() {
        return;
    }
    if selector.is_none() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
        return;
    }
    for (index, key) in owner.texts(name).enumerate() {
        qualified_name(key, &path.index(index), errors);
    }
}

/// The rules before keys were merged into the selector.
fn legacy_match_label_keys(constraint: &Value, path: &Path, errors: &mut Errors) {
    if constraint.list("matchLabelKeys").is_empty() {
        return;
    }
    let selector = constraint.some("labelSelector");
    if selector.is_none() {
        errors.forbidden(path, "must not be specified when labelSelector is not set");
    }
    let selector = selector.unwrap_or(&Value::Null);
    for (index, key) in constraint.texts("matchLabelKeys").enumerate() {
        qualified_name(key, &path.index(index), errors);
        let selected = selector
            .map("matchLabels")
            .is_some_and(|labels| labels.contains_key(key));
        if selected
            || selector
                .list("matchExpressions")
                .iter()
                .any(|one| one.text("key") == key)
        {
            errors.invalid(&path.index(index), key, TWICE);
        }
    }
}

/// Whether a constraint's `matchLabelKeys` are good under the newer rules.
pub fn match_label_keys_are_good(constraint: &Value) -> bool {
    is_good(|errors| match_label_keys_of(constraint, false, &Path::new(""), errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        for (constraint, wanted) in [
            (
                json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}),
                vec![],
            ),
            (
                json!({"maxSkew": 0, "whenUnsatisfiable": "x"}),
                vec![
                    "c[0].maxSkew: Invalid value: 0: must be greater than zero",
                    "c[0].topologyKey: Required value: can not be empty",
                    "c[0].whenUnsatisfiable: Unsupported value: \"x\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
                ],
            ),
            (
                json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2, "nodeTaintsPolicy": "x"}),
                vec![
                    "c[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
                    "c[0].nodeTaintsPolicy: Unsupported value: \"x\": supported values: \"Honor\", \"Ignore\"",
                ],
            ),
            (
                json!({"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["a"],
                    "labelSelector": {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}}),
                vec![
                    "c[0][0]: Invalid value: \"a\": exists in both matchLabelKeys and labelSelector",
                ],
            ),
        ] {
            let mut errors = Errors::default();
            validate(
                &[constraint],
                &Options::default(),
                &Path::new("c"),
                &mut errors,
            );
            assert_eq!(errors.texts(), wanted);
        }
    }
}
