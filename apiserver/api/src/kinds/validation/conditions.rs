//! Conditions in the form that all newer kinds share.
//!
//! Follows `ValidateConditions` of `staging/src/k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go`.

use super::checks::{one_of, qualified_name};
use crate::kinds::prelude::*;
use crate::machinery::read::Read;

const LONGEST_REASON: usize = 1024;
const LONGEST_MESSAGE: usize = 32 * 1024;

pub fn conditions(conditions: &[Value], path: &Path, errors: &mut Errors) {
    for (index, one) in conditions.iter().enumerate() {
        let path = path.index(index);
        if conditions[..index]
            .iter()
            .any(|before| before.text("type") == one.text("type"))
        {
            errors.duplicate(&path.child("type"), one.text("type"));
        }
        condition(one, &path, errors);
    }
}

fn condition(condition: &Value, path: &Path, errors: &mut Errors) {
    qualified_name(condition.text("type"), &path.child("type"), errors);
    one_of(
        condition.text("status"),
        &["False", "True", "Unknown"],
        &path.child("status"),
        errors,
    );
    let generation = condition.int("observedGeneration");
    if generation < 0 {
        errors.invalid(
            &path.child("observedGeneration"),
            generation,
            "must be greater than or equal to zero",
        );
    }
    if condition.some("lastTransitionTime").is_none() {
        errors.required(&path.child("lastTransitionTime"), "");
    }
    let (reason, reason_path) = (condition.text("reason"), path.child("reason"));
    if reason.is_empty() {
        errors.required(&reason_path, "");
    } else {
        if !is_reason(reason) {
            const SAID: &str = "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_'";
            let examples = [
                "my_name",
                "MY_NAME",
                "MyName",
                "ReasonA,ReasonB",
                "ReasonA:ReasonB",
            ];
            errors.invalid(
                &reason_path,
                reason,
                names::regex_error(SAID, "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?", &examples),
            );
        }
        if reason.len() > LONGEST_REASON {
            errors.too_long(&reason_path, LONGEST_REASON as i64);
        }
    }
    if condition.text("message").len() > LONGEST_MESSAGE {
        errors.too_long(&path.child("message"), LONGEST_MESSAGE as i64);
    }
}

fn is_reason(reason: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.ends_with(word)
        && reason.chars().all(|c| word(c) || matches!(c, ',' | ':'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_condition_must_say() {
        let good = json!({"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z", "reason": "A,B"});
        let said = |change: &dyn Fn(&mut Value)| {
            let mut one = good.clone();
            change(&mut one);
            Errors::of(|errors| conditions(&[one], &Path::new("c"), errors)).message()
        };
        assert_eq!(said(&|_| {}), "[]");
        assert_eq!(
            said(&|c| c["status"] = "Yes".into()),
            "c[0].status: Unsupported value: \"Yes\": supported values: \"False\", \"True\", \"Unknown\""
        );
        assert_eq!(
            said(&|c| c["lastTransitionTime"] = Value::Null),
            "c[0].lastTransitionTime: Required value"
        );
        assert!(
            said(&|c| c["reason"] = "1".into()).starts_with(
                "c[0].reason: Invalid value: \"1\": a condition reason must start with"
            )
        );
    }
}
