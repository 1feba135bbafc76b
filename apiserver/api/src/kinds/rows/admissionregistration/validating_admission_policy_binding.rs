//! ValidatingAdmissionPolicyBindings: where a policy holds, and what comes of what it finds.
//!
//! Follows `ValidateValidatingAdmissionPolicyBinding*` of `pkg/apis/admissionregistration/validation/validation.go` and
//! `pkg/registry/admissionregistration/validatingadmissionpolicybinding/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::admissionregistration::policies;
use crate::kinds::validation::checks::one_of;

pub const STRATEGY: Strategy = Strategy {
    defaults: policies::binding_defaults,
    validate,
    validate_update: |new, _| validate(new),
    ..policies::COMMON
};

fn validate(binding: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (binding.at("spec"), Path::new("spec"));
    policies::binding(spec, &path, &mut errors);
    actions(spec, &path.child("validationActions"), &mut errors);
    errors
}

fn actions(spec: &Value, path: &Path, errors: &mut Errors) {
    let given: Vec<&str> = spec.texts("validationActions").collect();
    for (index, action) in given.iter().enumerate() {
        one_of(
            action,
            &["Audit", "Deny", "Warn"],
            &path.index(index),
            errors,
        );
        if given[..index].contains(action) {
            errors.duplicate(&path.index(index), *action);
        }
    }
    if given.contains(&"Deny") && given.contains(&"Warn") {
        let why = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.invalid(path, given.clone(), why);
    }
    if given.is_empty() {
        errors.required(path, "at least one validation action is required");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_binding_may_say() {
        for (change, said) in [
            (vec![], "[]"),
            (
                vec![("policyName", json!(""))],
                "spec.policyName: Required value",
            ),
            (
                vec![("paramRef", json!({"name": "a"}))],
                "spec.paramRef.parameterNotFoundAction: Required value",
            ),
            (vec![("matchResources", json!({}))], "[]"),
            (
                vec![("matchResources", json!({"matchPolicy": "x"}))],
                "spec.matchResources.matchPolicy: Unsupported value: \"x\": supported values: \"Equivalent\", \"Exact\"",
            ),
            (
                vec![("validationActions", json!([]))],
                "spec.validationActions: Required value: at least one validation action is required",
            ),
            (
                vec![("validationActions", json!(["x", "x"]))],
                "[spec.validationActions[0]: Unsupported value: \"x\": supported values: \"Audit\", \"Deny\", \"Warn\", spec.validationActions[1]: Unsupported value: \"x\": supported values: \"Audit\", \"Deny\", \"Warn\", spec.validationActions[1]: Duplicate value: \"x\"]",
            ),
            (
                vec![("validationActions", json!(["Deny", "Warn"]))],
                "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
            ),
        ] {
            let mut binding = json!({"spec": {"policyName": "p", "validationActions": ["Deny"]}});
            for (name, value) in &change {
                binding["spec"][*name] = value.clone();
            }
            policies::binding_defaults(&mut binding);
            assert_eq!(validate(&binding).message(), said, "{change:?}");
        }
    }
}
