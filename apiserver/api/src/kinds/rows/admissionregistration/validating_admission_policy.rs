//! ValidatingAdmissionPolicies: expressions that judge requests.
//!
//! Follows `ValidateValidatingAdmissionPolicy*` of `pkg/apis/admissionregistration/validation/validation.go` and
//! `pkg/registry/admissionregistration/validatingadmissionpolicy/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::admissionregistration::{policies, rules};
use crate::kinds::validation::cel;
use crate::kinds::validation::checks::{invalid_shown, qualified_name};
use crate::kinds::validation::conditions::conditions;
use crate::machinery::cel::admission::{Compiler, Gives};
use crate::machinery::jsonpath::JsonPath;

pub const STRATEGY: Strategy = Strategy {
    defaults: policies::defaults,
    validate: |policy| validate(policy, None),
    validate_update: |new, old| validate(new, Some(old)),
    validate_status_update: |new, _| status(new.at("status")),
    ..policies::COMMON
};

const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
const MOST_ANNOTATIONS: usize = 20;
const LONGEST_ANNOTATION: usize = 5 * 1024;

fn validate(policy: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (policy.at("spec"), Path::new("spec"));
    policies::begin(spec, &path, &mut errors);
    policies::constraints(spec, &path, &mut errors);
    let mut compiler = match spec.list("variables") {
        [] => Compiler::new(spec.some("paramKind").is_some()),
        _ => policies::compiler(spec),
    };
    let old = old.map(|old| old.at("spec"));
    policies::conditions_and_variables(spec, old, &mut compiler, &path, &mut errors);
    let (validations, annotations) = (spec.list("validations"), spec.list("auditAnnotations"));
    if validations.is_empty() && annotations.is_empty() {
        for name in ["validations", "auditAnnotations"] {
            errors.required(
                &path.child(name),
                "validations or auditAnnotations must contain at least one item",
            );
        }
        return errors;
    }
    for (index, one) in validations.iter().enumerate() {
        let path = path.child("validations");
        validation(one, &compiler, &path.index(index), &mut errors);
    }
    audit_annotations(
        policy.name(),
        annotations,
        &compiler,
        &path.child("auditAnnotations"),
        &mut errors,
    );
    errors
}

fn validation(validation: &Value, compiler: &Compiler, path: &Path, errors: &mut Errors) {
    const EMPTY: &str = "must be non-empty if specified";
    const MISSING: &str = "expression is not specified";
    policies::expression(validation, Gives::Bool, MISSING, compiler, path, errors);
    let (given, at) = (
        validation.text("messageExpression"),
        path.child("messageExpression"),
    );
    if !given.is_empty() && cel::is_blank(given) {
        errors.invalid(&at, given, EMPTY);
    } else if !given.is_empty() {
        let compiled = compiler.compile_unasked(given, Gives::Text);
        cel::compiled(compiled, given, &at, errors);
    }
    let message = validation.text("message");
    if !message.is_empty() && cel::is_blank(message) {
        errors.invalid(&path.child("message"), message, EMPTY);
    } else if message.trim().contains(['\n', '\r']) {
        errors.invalid(
            &path.child("message"),
            message,
            "must not contain line breaks",
        );
    }
    rules::choice(validation, "reason", REASONS, path, errors);
}

/// Annotations of the audit log bear the policy's name before their own.
fn audit_annotations(
    policy: &str,
    annotations: &[Value],
    compiler: &Compiler,
    path: &Path,
    errors: &mut Errors,
) {
    if annotations.len() > MOST_ANNOTATIONS {
        let shown = internal::json_list(annotations, "admissionregistration.AuditAnnotation");
        invalid_shown(
            &shown,
            &format!("must not have more than {MOST_ANNOTATIONS} auditAnnotations"),
            path,
            errors,
        );
    }
    for (index, one) in annotations.iter().enumerate() {
        let path = path.index(index);
        let (key, at) = (one.text("key"), path.child("key"));
        if policy.is_empty() {
            errors.invalid(&at, key, "requires metadata.name be non-empty");
        } else {
            qualified_name(&format!("{policy}/{key}"), &at, errors);
        }
        let (expression, value_at) = (one.text("valueExpression"), path.child("valueExpression"));
        if expression.trim().len() > LONGEST_ANNOTATION {
            errors.required(
                &value_at,
                format!("must not exceed {LONGEST_ANNOTATION} bytes in length"),
            );
        } else {
            const MISSING: &str = "valueExpression is not specified";
            cel::needed(expression, MISSING, &value_at, errors, || {
                compiler.compile(expression.trim(), Gives::TextOrNull)
            });
        }
        if annotations[..index]
            .iter()
            .any(|before| before.text("key") == key)
        {
            errors.duplicate(&at, key);
        }
    }
}

fn status(status: &Value) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("status");
    let at = path.child("typeChecking");
    for (index, warning) in status
        .at("typeChecking")
        .list("expressionWarnings")
        .iter()
        .enumerate()
    {
        expression_warning(
            warning,
            &at.child("expressionWarnings").index(index),
            &mut errors,
        );
    }
    conditions(
        status.list("conditions"),
        &path.child("conditions"),
        &mut errors,
    );
    errors
}

fn expression_warning(warning: &Value, path: &Path, errors: &mut Errors) {
    if warning.text("warning").is_empty() {
        errors.required(&path.child("warning"), "");
    }
    let (field, at) = (warning.text("fieldRef").trim(), path.child("fieldRef"));
    if field.is_empty() {
        errors.required(&at, "");
    } else if let Err(why) = JsonPath::parse(&format!("{{{field}}}")) {
        errors.invalid(&at, field, format!("invalid JSONPath: {why}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(change: &[(&str, Value)]) -> Value {
        let mut spec = json!({
            "matchConstraints": {"resourceRules": [{"operations": ["*"], "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]},
            "validations": [{"expression": "true"}],
        });
        for (name, value) in change {
            spec[*name] = value.clone();
        }
        let mut policy = json!({"metadata": {"name": "p"}, "spec": spec});
        policies::defaults(&mut policy);
        policy
    }

    #[test]
    fn what_a_policy_may_say() {
        let validation = |change: Value| json!([change]);
        let annotation =
            |key: &str, expression: &str| json!({"key": key, "valueExpression": expression});
        for (change, said) in [
            (vec![], "[]"),
            (
                vec![("failurePolicy", json!("x"))],
                "spec.failurePolicy: Unsupported value: \"x\": supported values: \"Fail\", \"Ignore\"",
            ),
            (
                vec![("paramKind", json!({"apiVersion": "v1"}))],
                "spec.paramKind.kind: Required value",
            ),
            (
                vec![("matchConstraints", json!(null))],
                "spec.matchConstraints: Required value",
            ),
            (
                vec![("matchConstraints", json!({}))],
                "spec.matchConstraints.resourceRules: Required value",
            ),
            (
                vec![("matchConditions", json!([{"name": "a"}]))],
                "spec.matchConditions[0].expression: Required value",
            ),
            (
                vec![("variables", json!([{"name": "a"}]))],
                "spec.variables[0].expression: Required value: expression is not specified",
            ),
            (
                vec![("validations", json!([]))],
                "[spec.validations: Required value: validations or auditAnnotations must contain at least one item, spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item]",
            ),
            (
                vec![("validations", validation(json!({})))],
                "spec.validations[0].expression: Required value: expression is not specified",
            ),
            (
                vec![(
                    "validations",
                    validation(
                        json!({"expression": "true", "messageExpression": " ", "message": "\t"}),
                    ),
                )],
                "[spec.validations[0].messageExpression: Invalid value: \" \": must be non-empty if specified, spec.validations[0].message: Invalid value: \"\\t\": must be non-empty if specified]",
            ),
            (
                vec![("validations", validation(json!({"expression": "params.x"})))],
                "spec.validations[0].expression: Invalid value: \"params.x\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'params' (in container '')\n | params.x\n | ^",
            ),
            (
                vec![(
                    "validations",
                    validation(json!({"expression": "true", "messageExpression": "1"})),
                )],
                "spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string but got int",
            ),
            (
                vec![
                    ("variables", json!([{"name": "a", "expression": "1"}])),
                    (
                        "validations",
                        validation(json!({"expression": "variables.a == 1"})),
                    ),
                ],
                "[]",
            ),
            (
                vec![("auditAnnotations", json!([annotation("a", " 1")]))],
                "spec.auditAnnotations[0].valueExpression: Invalid value: \" 1\": must evaluate to one of [string null_type] but got int",
            ),
            (
                vec![(
                    "validations",
                    validation(json!({"expression": "true", "message": "a\nb"})),
                )],
                "spec.validations[0].message: Invalid value: \"a\\nb\": must not contain line breaks",
            ),
            (
                vec![(
                    "validations",
                    validation(json!({"expression": "true", "reason": "x"})),
                )],
                "spec.validations[0].reason: Unsupported value: \"x\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
            ),
            (
                vec![(
                    "auditAnnotations",
                    json!([annotation("a", "'x'"), annotation("a", "'x'")]),
                )],
                "spec.auditAnnotations[1].key: Duplicate value: \"a\"",
            ),
            (
                vec![("auditAnnotations", json!([annotation("a", "")]))],
                "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
            ),
            (
                vec![(
                    "auditAnnotations",
                    json!([annotation("a", &"x".repeat(5 * 1024 + 1))]),
                )],
                "spec.auditAnnotations[0].valueExpression: Required value: must not exceed 5120 bytes in length",
            ),
        ] {
            assert_eq!(
                validate(&policy(&change), None).message(),
                said,
                "{change:?}"
            );
        }
        let many: Vec<Value> = (0..21)
            .map(|n| annotation(&format!("a{n}"), "''"))
            .collect();
        let said = validate(&policy(&[("auditAnnotations", json!(many))]), None).message();
        assert!(
            said.starts_with(
                r#"spec.auditAnnotations: Invalid value: [{"Key":"a0","ValueExpression":"''"},"#
            ),
            "{said}"
        );
        assert!(
            said.ends_with("]: must not have more than 20 auditAnnotations"),
            "{said}"
        );
    }

    #[test]
    fn what_the_status_may_say() {
        for (warning, said) in [
            (
                json!({"fieldRef": "spec.validations[0].expression", "warning": "w"}),
                "[]",
            ),
            (
                json!({}),
                "[status.typeChecking.expressionWarnings[0].warning: Required value, status.typeChecking.expressionWarnings[0].fieldRef: Required value]",
            ),
            (
                json!({"fieldRef": "spec[", "warning": "w"}),
                "status.typeChecking.expressionWarnings[0].fieldRef: Invalid value: \"spec[\": invalid JSONPath: unterminated array",
            ),
        ] {
            assert_eq!(
                status(&json!({"typeChecking": {"expressionWarnings": [warning]}})).message(),
                said,
                "{warning}"
            );
        }
        assert!(
            status(&json!({"conditions": [{"type": "A", "status": "x"}]}))
                .message()
                .contains("status.conditions[0].status: Unsupported value: \"x\"")
        );
    }
}
