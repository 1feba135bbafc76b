//! What the kinds that own pods by a template have in common: selectors, counts, percentages, warnings.
//!
//! Invariant: a selector matches the template's labels. Follows `pkg/apis/apps/validation/validation.go`.

use super::checks::{IMMUTABLE, invalid_shown, nonnegative};
use super::pod::Options;
use super::{internal, pod};
use crate::kinds::prelude::*;
use crate::machinery::field::{Error, Kind};
use crate::machinery::quote::go_quote;
use crate::machinery::read::Read;
use crate::machinery::selector::Selector;

/// The JSON of a `LabelSelector`; `null` when there is none.
pub fn shown_selector(selector: Option<&Value>) -> String {
    selector.map_or("null".into(), |selector| {
        internal::json(selector, "meta.v1.LabelSelector")
    })
}

/// A map of labels as messages show it.
pub fn shown_labels(labels: Option<&Value>) -> String {
    labels.map_or("null".into(), Value::to_string)
}

/// Whether a selector says nothing.
pub fn selects_everything(selector: &Value) -> bool {
    selector.entries("matchLabels").next().is_none() && selector.list("matchExpressions").is_empty()
}

/// `spec.selector`: present, good and not empty. Answers the selector when it can be understood.
pub fn selector(spec: &Value, noun: &str, path: &Path, errors: &mut Errors) -> Option<Selector> {
    let at = path.child("selector");
    let given = spec.some("selector");
    match given {
        None => errors.required(&at, ""),
        Some(selector) => {
            super::checks::label_selector(given, false, &at, errors);
            if selects_everything(selector) {
                invalid_shown(
                    &shown_selector(given),
                    &format!("empty selector is invalid for {noun}"),
                    &at,
                    errors,
                );
            }
        }
    }
    Selector::from_label_selector(given).ok()
}

/// The template's labels are what the selector looks for.
pub fn template_matches(selector: &Selector, template: &Value, path: &Path, errors: &mut Errors) {
    let labels = template.at("metadata").some("labels");
    if !selector.is_everything() && !selector.matches(labels.unwrap_or(&Value::Null)) {
        let at = path.child("metadata");
        invalid_shown(
            &shown_labels(labels),
            "`selector` does not match template `labels`",
            &at.child("labels"),
            errors,
        );
    }
}

/// Pods of controllers that keep them running have no deadline and always restart.
pub fn runs_for_ever(template: &Value, kind: &str, path: &Path, errors: &mut Errors) {
    pod::always_restarts(template, path, errors);
    if template.at("spec").some("activeDeadlineSeconds").is_some() {
        errors.forbidden(
            &path.child("spec").child("activeDeadlineSeconds"),
            format!("activeDeadlineSeconds in {kind} is not Supported"),
        );
    }
}

/// The template of Deployments and ReplicaSets.
pub fn replica_template(
    spec: &Value,
    selector: Option<&Selector>,
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) {
    let template = spec.at("template");
    match selector {
        None => invalid_shown(
            &shown_selector(spec.some("selector")),
            "invalid label selector",
            &path.child("selector"),
            errors,
        ),
        Some(selector) => {
            let at = path.child("template");
            template_matches(selector, template, &at, errors);
            pod::validate_template(template, options, &at, errors);
            runs_for_ever(template, "ReplicaSet", &at, errors);
        }
    }
}

/// `spec.selector` stays as it was.
pub fn same_selector(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let (now, before) = (new.some("selector"), old.some("selector"));
    if now != before {
        invalid_shown(
            &shown_selector(now),
            IMMUTABLE,
            &path.child("selector"),
            errors,
        );
    }
}

/// Counts that are not negative.
pub fn counts(owner: &Value, names: &[&str], path: &Path, errors: &mut Errors) {
    for name in names {
        nonnegative(owner.int(name), &path.child(name), errors);
    }
}

/// Parts of a whole are not more than it.
pub fn parts_of_replicas(status: &Value, names: &[&str], path: &Path, errors: &mut Errors) {
    for name in names
        .iter()
        .filter(|name| status.int(name) > status.int("replicas"))
    {
        errors.invalid(
            &path.child(name),
            status.int(name),
            "cannot be greater than status.replicas",
        );
    }
}

/// Who is available is ready; `field` is how the message names the count of the ready.
pub fn available_are_ready(status: &Value, field: &str, path: &Path, errors: &mut Errors) {
    if status.int("availableReplicas") > status.int("readyReplicas") {
        errors.invalid(
            &path.child("availableReplicas"),
            status.int("availableReplicas"),
            format!("cannot be greater than {field}"),
        );
    }
}

/// `status.collisionCount` only grows.
pub fn collisions_only_grow(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    let (now, before) = (new.int_ptr("collisionCount"), old.int_ptr("collisionCount"));
    if before.is_some_and(|before| now.is_none_or(|now| now < before)) {
        errors.invalid(
            &path.child("collisionCount"),
            now.unwrap_or(0),
            "cannot be decremented",
        );
    }
}

/// A count or `25%`.
pub fn count_or_percent(value: &Value, path: &Path, errors: &mut Errors) {
    match value {
        Value::String(text) => errors.invalid_all(path, text, names::is_valid_percent(text)),
        number => nonnegative(number.as_i64().unwrap_or(0), path, errors),
    }
}

fn percent(value: &Value) -> Option<i64> {
    let text = value
        .as_str()
        .filter(|text| names::is_valid_percent(text).is_empty())?;
    // what does not fit is as much as can be
    Some(text.trim_end_matches('%').parse().unwrap_or(i64::MAX))
}

/// The number in a count or percentage; nought when it cannot be read.
pub fn amount_of(value: &Value) -> i64 {
    percent(value)
        .or_else(|| value.as_i64())
        .or_else(|| value.as_str()?.parse().ok())
        .unwrap_or(0)
}

pub fn at_most_all(value: &Value, path: &Path, errors: &mut Errors) {
    if percent(value).is_some_and(|percent| percent > 100) {
        errors.invalid(path, value.clone(), "must not be greater than 100%");
    }
}

/// `Unsupported value` of a struct, which is shown whole.
pub fn unsupported_shown(shown: &str, supported: &[&str], path: &Path, errors: &mut Errors) {
    let listed: Vec<String> = supported.iter().map(|word| go_quote(word)).collect();
    let detail = format!("{shown}: supported values: {}", listed.join(", "));
    errors.0.push(Error {
        kind: Kind::NotSupported,
        field: path.to_string(),
        value: None,
        detail,
    });
}

/// Of names that end up in host names.
pub fn name_warning(object: &Value, out: &mut Warnings) {
    let messages = names::is_dns1123_label(object.name());
    if !messages.is_empty() {
        out.push(format!(
            "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: [{}]",
            messages.join(" ")
        ));
    }
}

/// Whether an update changed what generations count.
pub fn is_new_generation(new: &Value, old: Option<&Value>) -> bool {
    old.is_none_or(|old| old.generation() != new.generation())
}

/// Of `spec.template` of a new object or a new generation; `name` tells whether the name is looked at, too.
pub fn template_warnings(new: &Value, old: Option<&Value>, name: bool) -> Warnings {
    let mut out = Warnings::new();
    if name && old.is_none() {
        name_warning(new, &mut out);
    }
    if is_new_generation(new, old) {
        pod::warnings::warnings(
            new.at("spec").at("template"),
            Some(&Path::new("spec.template")),
            &mut out,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        for (value, amount, wanted) in [
            (json!(3), 3, vec![]),
            (
                json!(-1),
                -1,
                vec!["p: Invalid value: -1: must be greater than or equal to 0"],
            ),
            (json!("30%"), 30, vec![]),
            (
                json!("101%"),
                101,
                vec!["p: Invalid value: \"101%\": must not be greater than 100%"],
            ),
            (
                json!("x"),
                0,
                vec![
                    "p: Invalid value: \"x\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
                ],
            ),
        ] {
            let mut errors = Errors::default();
            count_or_percent(&value, &Path::new("p"), &mut errors);
            at_most_all(&value, &Path::new("p"), &mut errors);
            assert_eq!(
                (amount_of(&value), errors.texts()),
                (amount, wanted.iter().map(ToString::to_string).collect())
            );
        }
    }

    #[test]
    fn selectors() {
        let path = Path::new("spec");
        for (spec, wanted) in [
            (json!({}), vec!["spec.selector: Required value"]),
            (
                json!({"selector": {}}),
                vec!["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
            ),
            (json!({"selector": {"matchLabels": {"a": "b"}}}), vec![]),
        ] {
            let mut errors = Errors::default();
            selector(&spec, "deployment", &path, &mut errors);
            assert_eq!(errors.texts(), wanted);
        }
        let mut errors = Errors::default();
        same_selector(
            &json!({"selector": {"matchLabels": {"a": "b"}, "matchExpressions": [{"key": "k", "operator": "Exists"}]}}),
            &json!({}),
            &path,
            &mut errors,
        );
        assert_eq!(
            errors.message(),
            r#"spec.selector: Invalid value: {"matchLabels":{"a":"b"},"matchExpressions":[{"key":"k","operator":"Exists"}]}: field is immutable"#
        );
    }
}
