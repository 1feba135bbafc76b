//! MutatingAdmissionPolicies: expressions that change objects.
//!
//! Follows `ValidateMutatingAdmissionPolicy*` of `pkg/apis/admissionregistration/validation/validation.go` and
//! `pkg/registry/admissionregistration/mutatingadmissionpolicy/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::admissionregistration::webhooks::REINVOCATION_POLICIES;
use crate::kinds::rows::admissionregistration::{policies, rules};
use crate::kinds::validation::cel;
use crate::kinds::validation::checks::{required_one_of, unsupported};
use crate::machinery::cel::admission::{Compiler, Gives};

pub const STRATEGY: Strategy = Strategy {
    defaults: policies::defaults,
    validate: |policy| validate(policy, None),
    validate_update: |new, old| validate(new, Some(old)),
    ..policies::COMMON
};

/// Types of patches, and the fields that hold them.
const PATCHES: [(&str, &str, Gives); 2] = [
    ("ApplyConfiguration", "applyConfiguration", Gives::Applied),
    ("JSONPatch", "jsonPatch", Gives::Patch),
];

fn validate(policy: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (policy.at("spec"), Path::new("spec"));
    policies::begin(spec, &path, &mut errors);
    policies::constraints(spec, &path, &mut errors);
    rules::mutating_operations(
        spec.at("matchConstraints"),
        &path.child("matchConstraints"),
        &mut errors,
    );
    let (mut compiler, old) = (policies::compiler(spec), old.map(|old| old.at("spec")));
    policies::conditions_and_variables(spec, old, &mut compiler, &path, &mut errors);
    let at = path.child("mutations");
    if spec.list("mutations").is_empty() {
        errors.required(&at, "mutations must contain at least one item");
    }
    for (index, one) in spec.list("mutations").iter().enumerate() {
        mutation(one, &compiler, &at.index(index), &mut errors);
    }
    required_one_of(
        spec.text("reinvocationPolicy"),
        REINVOCATION_POLICIES,
        &path.child("reinvocationPolicy"),
        &mut errors,
    );
    errors
}

/// One patch, in the field of its type.
fn mutation(mutation: &Value, compiler: &Compiler, path: &Path, errors: &mut Errors) {
    let (kind, at) = (mutation.text("patchType"), path.child("patchType"));
    if kind.is_empty() {
        return errors.required(&at, "");
    }
    let Some((_, field, gives)) = PATCHES.iter().find(|(name, ..)| *name == kind) else {
        return unsupported(kind, &PATCHES.map(|(name, ..)| name), &at, errors);
    };
    match mutation.some(field) {
        None => errors.required(
            &path.child(field),
            format!("must be specified when patchType is {kind}"),
        ),
        Some(patch) => {
            let (text, path) = (patch.text("expression").trim(), path.child(field));
            cel::needed(text, "", &path.child("expression"), errors, || {
                compiler.compile(text, *gives)
            });
        }
    }
    for (_, other, _) in PATCHES
        .iter()
        .filter(|(name, other, _)| *name != kind && mutation.some(other).is_some())
    {
        errors.invalid(
            &path.child(other),
            format!("{{{other}}}"),
            format!("must not be specified when patchType is {kind}"),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATCH: &str = "[JSONPatch{op: 'add', path: '/a', value: object.b}]";

    fn policy(change: &[(&str, Value)]) -> Value {
        let mut spec = json!({
            "matchConstraints": {"resourceRules": [{"operations": ["CREATE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]},
            "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": PATCH}}],
            "reinvocationPolicy": "Never",
        });
        for (name, value) in change {
            spec[*name] = value.clone();
        }
        let mut policy = json!({"spec": spec});
        policies::defaults(&mut policy);
        policy
    }

    #[test]
    fn what_a_policy_may_say() {
        let rule = json!({"operations": ["DELETE"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]});
        for (change, said) in [
            (vec![], "[]"),
            (
                vec![("matchConstraints", json!({"resourceRules": [rule]}))],
                "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
            ),
            (
                vec![("matchConstraints", json!(null))],
                "spec.matchConstraints: Required value",
            ),
            (
                vec![("mutations", json!([]))],
                "spec.mutations: Required value: mutations must contain at least one item",
            ),
            (
                vec![("mutations", json!([{}]))],
                "spec.mutations[0].patchType: Required value",
            ),
            (
                vec![("mutations", json!([{"patchType": "x"}]))],
                "spec.mutations[0].patchType: Unsupported value: \"x\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
            ),
            (
                vec![(
                    "mutations",
                    json!([{"patchType": "ApplyConfiguration", "jsonPatch": {"expression": "[]"}}]),
                )],
                "[spec.mutations[0].applyConfiguration: Required value: must be specified when patchType is ApplyConfiguration, spec.mutations[0].jsonPatch: Invalid value: \"{jsonPatch}\": must not be specified when patchType is ApplyConfiguration]",
            ),
            (
                vec![(
                    "mutations",
                    json!([{"patchType": "JSONPatch", "jsonPatch": {}}]),
                )],
                "spec.mutations[0].jsonPatch.expression: Required value",
            ),
            (
                vec![(
                    "mutations",
                    json!([{"patchType": "JSONPatch", "jsonPatch": {"expression": " Object{} "}}]),
                )],
                "spec.mutations[0].jsonPatch.expression: Invalid value: \"Object{}\": must evaluate to list(JSONPatch) but got Object",
            ),
            (
                vec![("reinvocationPolicy", json!(""))],
                "spec.reinvocationPolicy: Required value",
            ),
            (
                vec![("reinvocationPolicy", json!("x"))],
                "spec.reinvocationPolicy: Unsupported value: \"x\": supported values: \"IfNeeded\", \"Never\"",
            ),
        ] {
            assert_eq!(
                validate(&policy(&change), None).message(),
                said,
                "{change:?}"
            );
        }
    }
}
