//! ReplicationControllers. Follows `pkg/apis/core/validation/validation.go` (ValidateReplicationControllerSpec) and
//! `pkg/registry/core/replicationcontroller/strategy.go`.
//!
//! Invariant: the selector matches the template's labels.

use crate::kinds::prelude::*;
use crate::kinds::rows::apps::{defaults, replica_set};
use crate::kinds::validation::checks::nonnegative;
use crate::kinds::validation::pod::Options;
use crate::kinds::validation::{pod, workload};
use crate::machinery::selector::Selector;

pub const STRATEGY: Strategy = Strategy {
    defaults: defaults::replication_controller,
    validate: |new| validate(new, None),
    validate_update: |new, old| validate(new, Some(old)),
    prepare_for_status_update: |new, _| defaults::labels_of_template(new),
    validate_status_update: |new, _| replica_set::validate_status(new.at("status"), &[]),
    warnings,
    ..defaults::TEMPLATED
};

/// Upstream looks at what an update replaces, not at what it brings, and that is what clients are used to.
fn warnings(new: &Value, old: Option<&Value>) -> Warnings {
    match old {
        Some(old) if workload::is_new_generation(new, Some(old)) => {
            let mut out = Warnings::new();
            let path = Path::new("spec.template");
            pod::warnings::warnings(old.at("spec").at("template"), Some(&path), &mut out);
            out
        }
        old => workload::template_warnings(new, old, true),
    }
}

fn validate(new: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (new.at("spec"), Path::new("spec"));
    let options = Options::of(old.map(|old| old.at("spec").at("template")));
    nonnegative(
        spec.int("minReadySeconds"),
        &path.child("minReadySeconds"),
        &mut errors,
    );
    if spec.entries("selector").next().is_none() {
        errors.required(&path.child("selector"), "");
    }
    match spec.int_ptr("replicas") {
        None => errors.required(&path.child("replicas"), ""),
        Some(replicas) => nonnegative(replicas, &path.child("replicas"), &mut errors),
    }
    let at = path.child("template");
    let Some(template) = spec.some("template") else {
        errors.required(&at, "");
        return errors;
    };
    let selector = Selector::from_set(
        spec.entries("selector")
            .map(|(key, value)| (key, value.as_str().unwrap_or(""))),
    );
    workload::template_matches(&selector, template, &at, &mut errors);
    pod::validate_template(template, &options, &at, &mut errors);
    workload::runs_for_ever(template, "ReplicationController", &at, &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_are_warned_of_what_they_replace() {
        let of = |generation: i64, image: &str, key: &str| json!({"metadata": {"name": "a", "generation": generation}, "spec": {"template": {"spec": {"nodeSelector": {key: "linux"}, "containers": [{"name": "c", "image": image}]}}}});
        let old = of(1, "x", "beta.kubernetes.io/os");
        let said = "spec.template.spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead";
        assert_eq!(warnings(&of(2, "y", "a"), Some(&old)), [said]);
        assert_eq!(warnings(&of(1, "x", "a"), Some(&old)), [""; 0]);
        assert_eq!(warnings(&old, None), [said]);
        let new = of(2, "x", "beta.kubernetes.io/os");
        assert_eq!(warnings(&new, Some(&of(1, "x", "a"))), [""; 0]);
    }

    #[test]
    fn specs() {
        let said = |spec: Value| validate(&json!({"spec": spec}), None).texts();
        assert_eq!(
            said(json!({"minReadySeconds": -1})),
            [
                "spec.minReadySeconds: Invalid value: -1: must be greater than or equal to 0",
                "spec.selector: Required value",
                "spec.replicas: Required value",
                "spec.template: Required value",
            ]
        );
        let errors = said(
            json!({"replicas": 1, "selector": {"a": "b"}, "template": {"metadata": {"labels": {"a": "c"}}}}),
        );
        assert_eq!(
            errors[0],
            "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`"
        );
    }
}
