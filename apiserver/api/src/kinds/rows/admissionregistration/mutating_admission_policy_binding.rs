//! MutatingAdmissionPolicyBindings: where a policy holds.
//!
//! Follows `ValidateMutatingAdmissionPolicyBinding*` of `pkg/apis/admissionregistration/validation/validation.go` and
//! `pkg/registry/admissionregistration/mutatingadmissionpolicybinding/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::admissionregistration::{policies, rules};

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
    rules::mutating_operations(
        spec.at("matchResources"),
        &path.child("matchResources"),
        &mut errors,
    );
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_binding_may_say() {
        let rule = json!({"operations": ["DELETE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
        for (spec, said) in [
            (json!({"policyName": "p"}), "[]"),
            (json!({"policyName": ""}), "spec.policyName: Required value"),
            (
                json!({"policyName": "p", "matchResources": {"resourceRules": [rule]}}),
                "spec.matchResources.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
            ),
        ] {
            let mut binding = json!({"spec": spec});
            policies::binding_defaults(&mut binding);
            assert_eq!(validate(&binding).message(), said, "{spec}");
        }
    }
}
