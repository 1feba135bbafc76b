//! `x-kubernetes-validations`: rules in CEL, and what can be said of their texts without compiling them.
//!
//! Follows `pkg/apis/apiextensions/validation/{validation,cel_validation}.go` of apiextensions-apiserver.

use super::{field_path, structure};
use crate::kinds::prelude::*;

pub const RULES: &str = "x-kubernetes-validations";
const REASONS: [&str; 4] = [
    "FieldValueDuplicate",
    "FieldValueForbidden",
    "FieldValueInvalid",
    "FieldValueRequired",
];

/// What is said of the rules of a schema without compiling them.
pub fn texts(schema: &Value, path: &Path, errors: &mut Errors) {
    for (index, rule) in schema.list(RULES).iter().enumerate() {
        let path = path.child(RULES);
        let path = path.index(index);
        rule_and_message(rule, &path, errors);
        let expression = rule.text("messageExpression");
        if !expression.is_empty() && expression.trim().is_empty() {
            errors.required(
                &path.child("messageExpression"),
                "messageExpression must be non-empty if specified",
            );
        }
        if let Some(reason) = rule.text_ptr("reason")
            && !REASONS.contains(&reason)
        {
            errors.not_supported_in_order(&path.child("reason"), reason, &REASONS);
        }
        leads_somewhere(
            schema,
            rule.text("fieldPath"),
            &path.child("fieldPath"),
            errors,
        );
    }
}

fn rule_and_message(rule: &Value, path: &Path, errors: &mut Errors) {
    let (at, told) = (path.child("rule"), path.child("message"));
    let (text, message) = (rule.text("rule").trim(), rule.text("message"));
    if text.is_empty() {
        errors.required(&at, "rule is not specified");
    } else if !message.is_empty() && message.trim().is_empty() {
        errors.invalid(&told, message, "must be non-empty if specified");
    } else if has_line_breaks(message.trim()) {
        errors.invalid(&told, message, "must not contain line breaks");
    } else if has_line_breaks(text) && message.is_empty() {
        errors.required(
            &told,
            "message must be specified if rule contains line breaks",
        );
    }
}

fn leads_somewhere(schema: &Value, given: &str, path: &Path, errors: &mut Errors) {
    if given.is_empty() {
        return;
    }
    if given.trim().is_empty() {
        errors.invalid(path, given, "must be non-empty if specified");
    }
    if has_line_breaks(given) {
        errors.invalid(path, given, "must not contain line breaks");
    }
    if structure::readable(schema).is_ok() && field_path::follow(given, schema, true).is_err() {
        errors.invalid(path, given, "must be a valid path");
    }
}

fn has_line_breaks(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_texts_of_a_rule_may_be() {
        let reasons = "supported values: \"FieldValueDuplicate\", \"FieldValueForbidden\", \"FieldValueInvalid\", \"FieldValueRequired\"";
        for (rule, said) in [
            (json!({"rule": "true"}), String::new()),
            (json!({"rule": " "}), "rule: Required value: rule is not specified".into()),
            (json!({"rule": "a", "message": " "}), "message: Invalid value: \" \": must be non-empty if specified".into()),
            (json!({"rule": "a", "message": "b\nc"}), "message: Invalid value: \"b\\nc\": must not contain line breaks".into()),
            (json!({"rule": "a\nb"}), "message: Required value: message must be specified if rule contains line breaks".into()),
            (
                json!({"rule": "a", "messageExpression": " "}),
                "messageExpression: Required value: messageExpression must be non-empty if specified".into(),
            ),
            (json!({"rule": "a", "reason": "x"}), format!("reason: Unsupported value: \"x\": {reasons}")),
            (json!({"rule": "a", "fieldPath": ".b"}), "fieldPath: Invalid value: \".b\": must be a valid path".into()),
            (json!({"rule": "a", "fieldPath": ".a"}), String::new()),
        ] {
            let schema = json!({"properties": {"a": {"type": "string"}}, RULES: [rule]});
            let texts = Errors::of(|errors| texts(&schema, &Path::new("s"), errors)).texts();
            let wanted = if said.is_empty() { vec![] } else { vec![format!("s.x-kubernetes-validations[0].{said}")] };
            assert_eq!(texts, wanted, "{schema}");
        }
    }
}
