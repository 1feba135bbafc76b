//! Tolerations. Follows `pkg/apis/core/validation/validation.go` (ValidateTolerations).
//!
//! Invariant: an update only adds tolerations, or changes their seconds.

use super::Options;
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{one_of, qualified_name, unsupported};
use crate::machinery::quote::go_quote;

pub const EFFECTS: &[&str] = &["NoSchedule", "PreferNoSchedule", "NoExecute"];

pub fn validate(tolerations: &[Value], options: &Options, path: &Path, errors: &mut Errors) {
    for (index, toleration) in tolerations.iter().enumerate() {
        one(toleration, options, &path.index(index), errors);
    }
}

fn one(toleration: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let (key, operator, effect) = (
        toleration.text("key"),
        toleration.text("operator"),
        toleration.text("effect"),
    );
    if !key.is_empty() {
        qualified_name(key, &path.child("key"), errors);
    }
    if key.is_empty() && operator != "Exists" {
        errors.invalid(&path.child("operator"), operator, "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    }
    if toleration.some("tolerationSeconds").is_some() && effect != "NoExecute" {
        errors.invalid(
            &path.child("effect"),
            effect,
            "effect must be 'NoExecute' when `tolerationSeconds` is set",
        );
    }
    let value = toleration.text("value");
    match operator {
        "Equal" | "" => {
            let messages = names::is_label_value(value);
            if !messages.is_empty() {
                errors.invalid(&path.child("operator"), value, messages.join(";"));
            }
        }
        "Exists" => {
            if !value.is_empty() {
                errors.invalid(
                    &path.child("operator"),
                    value,
                    "value must be empty when `operator` is 'Exists'",
                );
            }
        }
        "Lt" | "Gt" if options.toleration_comparison => number(value, &path.child("value"), errors),
        "Lt" | "Gt" => unsupported(
            operator,
            &["Equal", "Exists", "Lt", "Gt"],
            &path.child("operator"),
            errors,
        ),
        _ => unsupported(
            operator,
            &["Equal", "Exists"],
            &path.child("operator"),
            errors,
        ),
    }
    if !effect.is_empty() {
        one_of(effect, EFFECTS, &path.child("effect"), errors);
    }
}

fn number(value: &str, path: &Path, errors: &mut Errors) {
    errors.invalid_all(path, value, names::is_decimal_integer(value));
    if value.parse::<i64>().is_err() {
        let digits = value.strip_prefix(['-', '+']).unwrap_or(value);
        let why = if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
            "value out of range"
        } else {
            "invalid syntax"
        };
        errors.invalid(
            path,
            value,
            format!("strconv.ParseInt: parsing {}: {why}", go_quote(value)),
        );
    }
}

/// What an update may do with them.
pub fn only_added(
    new: &[Value],
    old: &[Value],
    options: &Options,
    path: &Path,
    errors: &mut Errors,
) {
    let same = |a: &Value, b: &Value| {
        ["key", "operator", "value", "effect"]
            .iter()
            .all(|name| a.text(name) == b.text(name))
    };
    if old.iter().any(|had| !new.iter().any(|now| same(had, now))) {
        errors.forbidden(
            path,
            "existing toleration can not be modified except its tolerationSeconds",
        );
        return;
    }
    validate(new, options, path, errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        for (toleration, wanted) in [
            (
                json!({"key": "a", "operator": "Equal", "value": "b", "effect": "NoSchedule"}),
                vec![],
            ),
            (json!({"operator": "Exists"}), vec![]),
            (
                json!({"operator": "Equal"}),
                vec![
                    "t[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                ],
            ),
            (
                json!({"key": "a", "effect": "x"}),
                vec![
                    "t[0].effect: Unsupported value: \"x\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
                ],
            ),
            (
                json!({"key": "a", "operator": "x"}),
                vec![
                    "t[0].operator: Unsupported value: \"x\": supported values: \"Equal\", \"Exists\"",
                ],
            ),
            (
                json!({"key": "a", "operator": "Lt", "value": "1"}),
                vec![
                    "t[0].operator: Unsupported value: \"Lt\": supported values: \"Equal\", \"Exists\", \"Lt\", \"Gt\"",
                ],
            ),
            (
                json!({"key": "a", "tolerationSeconds": 1}),
                vec![
                    "t[0].effect: Invalid value: \"\": effect must be 'NoExecute' when `tolerationSeconds` is set",
                ],
            ),
        ] {
            let mut errors = Errors::default();
            validate(
                &[toleration],
                &Options::default(),
                &Path::new("t"),
                &mut errors,
            );
            assert_eq!(errors.texts(), wanted);
        }
    }

    #[test]
    fn updates() {
        let (a, b) = (
            json!({"key": "a", "operator": "Exists"}),
            json!({"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}),
        );
        let mut later = b.clone();
        later["tolerationSeconds"] = 5.into();
        for (new, old, good) in [
            (vec![&a, &b], vec![&a], true),
            (vec![&later], vec![&b], true),
            (vec![&a], vec![&b], false),
        ] {
            let list = |of: Vec<&Value>| of.into_iter().cloned().collect::<Vec<_>>();
            let mut errors = Errors::default();
            only_added(
                &list(new),
                &list(old),
                &Options::default(),
                &Path::new("t"),
                &mut errors,
            );
            assert_eq!(errors.is_empty(), good);
        }
    }
}
