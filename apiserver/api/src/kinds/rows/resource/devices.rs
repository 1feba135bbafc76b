//! How devices are selected, configured, tainted and bound, wherever that is said.
//!
//! Follows `pkg/apis/resource/validation/validation.go`.

use super::sets;
use crate::kinds::prelude::*;
use crate::kinds::validation::cel;
use crate::kinds::validation::checks::{one_of, qualified_name, required_one_of};
use crate::kinds::validation::pod::volume_remote::csi_driver_name;
use crate::machinery::schema::to_json;

pub const MOST_CONFIGURATIONS: usize = 32;
const MOST_SELECTORS: usize = 32;
const MOST_CONDITIONS: usize = 4;
const LARGEST_PARAMETERS: usize = 10 * 1024;
const EFFECTS: &[&str] = &["NoExecute", "NoSchedule", "None"];

/// `selectors`.
pub fn selectors(owner: &Value, path: &Path, errors: &mut Errors) {
    let check = |selector: &Value, path: &Path, errors: &mut Errors| match selector.some("cel") {
        None => errors.required(&path.child("cel"), ""),
        Some(cel) => cel::selector(
            cel.text("expression"),
            &path.child("cel").child("expression"),
            errors,
        ),
    };
    sets::list(
        owner.list("selectors"),
        MOST_SELECTORS,
        &check,
        &path.child("selectors"),
        errors,
    );
}

/// What a driver is told; of a stored configuration the size is not looked at.
pub fn configuration(config: &Value, stored: bool, path: &Path, errors: &mut Errors) {
    let at = path.child("opaque");
    match config.some("opaque") {
        None => errors.required(&at, ""),
        Some(opaque) => {
            csi_driver_name(opaque.text("driver"), &at.child("driver"), errors);
            let most = if stored {
                usize::MAX
            } else {
                LARGEST_PARAMETERS
            };
            raw_object(
                opaque.some("parameters"),
                most,
                &at.child("parameters"),
                errors,
            );
        }
    }
}

/// JSON of any kind that must be an object.
pub fn raw_object(value: Option<&Value>, largest: usize, path: &Path, errors: &mut Errors) {
    match value {
        None => errors.required(path, ""),
        Some(value) if to_json(value, None).len() > largest => {
            errors.too_long(path, largest as i64)
        }
        Some(Value::Object(_)) => {}
        Some(_) => errors.invalid(path, "<value omitted>", "must be a valid JSON object"),
    }
}

/// A taint of a device.
pub fn taint(taint: &Value, path: &Path, errors: &mut Errors) {
    qualified_name(taint.text("key"), &path.child("key"), errors);
    label_value(taint, path, errors);
    required_one_of(taint.text("effect"), EFFECTS, &path.child("effect"), errors);
}

pub fn tolerations(owner: &Value, path: &Path, errors: &mut Errors) {
    for (index, one) in owner.list("tolerations").iter().enumerate() {
        toleration(one, &path.child("tolerations").index(index), errors);
    }
}

fn toleration(toleration: &Value, path: &Path, errors: &mut Errors) {
    if !toleration.text("key").is_empty() {
        qualified_name(toleration.text("key"), &path.child("key"), errors);
    }
    match toleration.text("operator") {
        "Exists" => {
            if !toleration.text("value").is_empty() {
                errors.invalid(
                    &path.child("value"),
                    toleration.text("value"),
                    "must be empty for operator `Exists`",
                );
            }
        }
        "Equal" => label_value(toleration, path, errors),
        other => required_one_of(other, &["Equal", "Exists"], &path.child("operator"), errors),
    }
    if !toleration.text("effect").is_empty() {
        one_of(
            toleration.text("effect"),
            EFFECTS,
            &path.child("effect"),
            errors,
        );
    }
}

fn label_value(owner: &Value, path: &Path, errors: &mut Errors) {
    let value = owner.text("value");
    errors.invalid_all(&path.child("value"), value, names::is_label_value(value));
}

/// The conditions that are waited for before a pod is bound, and those that end the waiting.
pub fn binding(owner: &Value, path: &Path, errors: &mut Errors) {
    let [(name, wanted), (failure_name, failures)] =
        ["bindingConditions", "bindingFailureConditions"].map(|name| (name, owner.list(name)));
    let (at, failures_at) = (path.child(name), path.child(failure_name));
    let check = |condition: &Value, path: &Path, errors: &mut Errors| {
        checks::qualified_name(condition.as_str().unwrap_or(""), path, errors)
    };
    for (list, at) in [(wanted, &at), (failures, &failures_at)] {
        sets::list(list, MOST_CONDITIONS, &check, at, errors);
    }
    sets::unique(wanted.iter().cloned(), &at, errors);
    for (index, condition) in failures.iter().enumerate() {
        let at = failures_at.index(index);
        if failures[..index].contains(condition) {
            errors.duplicate(&at, condition.clone());
        }
        if wanted.contains(condition) {
            errors.invalid(
                &at,
                condition.clone(),
                "bindingFailureConditions must not overlap with bindingConditions",
            );
        }
    }
    match (wanted.is_empty(), failures.is_empty()) {
        (true, false) => checks::invalid_or_null(
            owner.some(name),
            "bindingConditions are required to use bindingFailureConditions",
            &at,
            errors,
        ),
        (false, true) => checks::invalid_or_null(
            owner.some(failure_name),
            "bindingFailureConditions are required to use bindingConditions",
            &failures_at,
            errors,
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Check = fn(&Value, &Path, &mut Errors);

    fn said(check: Check, value: &Value) -> String {
        Errors::of(|errors| check(value, &Path::new("d"), errors)).message()
    }

    #[test]
    fn selectors_and_configurations() {
        let config: Check = |value, path, errors| configuration(value, false, path, errors);
        let large = "x".repeat(LARGEST_PARAMETERS);
        for (check, value, wanted) in [
            (
                selectors as Check,
                json!({"selectors": [{"cel": {"expression": "true"}}]}),
                "[]",
            ),
            (
                selectors,
                json!({"selectors": [{}]}),
                "d.selectors[0].cel: Required value",
            ),
            (
                selectors,
                json!({"selectors": vec![json!({}); 33]}),
                "d.selectors: Too many: 33: must have at most 32 items",
            ),
            (config, json!({}), "d.opaque: Required value"),
            (
                config,
                json!({"opaque": {"driver": "a", "parameters": null}}),
                "d.opaque.parameters: Required value",
            ),
            (
                config,
                json!({"opaque": {"driver": "", "parameters": {}}}),
                "d.opaque.driver: Required value",
            ),
            (
                config,
                json!({"opaque": {"driver": "a", "parameters": []}}),
                "d.opaque.parameters: Invalid value: \"<value omitted>\": must be a valid JSON object",
            ),
            (
                config,
                json!({"opaque": {"driver": "a", "parameters": {"a": large}}}),
                "d.opaque.parameters: Too long: may not be more than 10240 bytes",
            ),
        ] {
            assert_eq!(said(check, &value), wanted, "{value}");
        }
        let mut errors = Errors::default();
        configuration(
            &json!({"opaque": {"driver": "a", "parameters": {"a": large}}}),
            true,
            &Path::new("d"),
            &mut errors,
        );
        assert!(errors.is_empty());
    }

    #[test]
    fn taints_and_tolerations() {
        let one: Check = toleration;
        for (check, value, wanted) in [
            (taint as Check, json!({"key": "a", "effect": "None"}), "[]"),
            (taint, json!({"key": "a"}), "d.effect: Required value"),
            (
                taint,
                json!({"key": "a", "effect": "x"}),
                "d.effect: Unsupported value: \"x\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
            ),
            (one, json!({"operator": "Exists"}), "[]"),
            (
                one,
                json!({"operator": "Exists", "value": "x"}),
                "d.value: Invalid value: \"x\": must be empty for operator `Exists`",
            ),
            (one, json!({}), "d.operator: Required value"),
            (
                one,
                json!({"operator": "x"}),
                "d.operator: Unsupported value: \"x\": supported values: \"Equal\", \"Exists\"",
            ),
            (
                one,
                json!({"operator": "Exists", "effect": "x"}),
                "d.effect: Unsupported value: \"x\": supported values: \"NoExecute\", \"NoSchedule\", \"None\"",
            ),
        ] {
            assert_eq!(said(check, &value), wanted, "{value}");
        }
    }

    #[test]
    fn conditions_of_binding() {
        for (value, wanted) in [
            (json!({}), "[]"),
            (
                json!({"bindingConditions": ["a"], "bindingFailureConditions": []}),
                "d.bindingFailureConditions: Invalid value: []: bindingFailureConditions are required to use bindingConditions",
            ),
            (
                json!({"bindingConditions": ["a"], "bindingFailureConditions": ["b"]}),
                "[]",
            ),
            (
                json!({"bindingConditions": ["a"]}),
                "d.bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions",
            ),
            (
                json!({"bindingFailureConditions": ["a"]}),
                "d.bindingConditions: Invalid value: null: bindingConditions are required to use bindingFailureConditions",
            ),
            (
                json!({"bindingConditions": ["a", "a"], "bindingFailureConditions": ["a"]}),
                "[d.bindingConditions[1]: Duplicate value: \"a\", d.bindingFailureConditions[0]: Invalid value: \"a\": bindingFailureConditions must not overlap with bindingConditions]",
            ),
            (
                json!({"bindingConditions": ["a", "b", "c", "d", "e"], "bindingFailureConditions": ["x"]}),
                "d.bindingConditions: Too many: 5: must have at most 4 items",
            ),
        ] {
            assert_eq!(said(binding, &value), wanted, "{value}");
        }
    }
}
