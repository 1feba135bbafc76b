//! Whether an applied configuration fits its type: every field known, every scalar of the right kind, no element twice.
//!
//! Invariant: messages bear the path of the value and upstream's words, Go's way of printing values included.
//! Follows `sigs.k8s.io/structured-merge-diff/v6/typed/validate.go`.

use crate::machinery::problem::{Problem, problem};
use crate::machinery::quote::go_quote;
use serde_json::Value;

use super::element::PathElement;
use super::types::{Atom, List, MapType, Scalar, Ty};
use crate::machinery::patch::go::{GoValue, go_type};

/// Checks a value; the text of the error is all that is wrong.
pub(super) fn validate(value: &Value, ty: Ty<'_>) -> Result<(), Problem> {
    Check { twice: false }.whole(value, ty)
}

/// The same of an object that is no configuration, in whose lists an element may stand twice.
pub(super) fn validate_object(value: &Value, ty: Ty<'_>) -> Result<(), Problem> {
    Check { twice: true }.whole(value, ty)
}

struct Check {
    /// Elements may stand twice.
    twice: bool,
}

impl Check {
    fn whole(&self, value: &Value, ty: Ty<'_>) -> Result<(), Problem> {
        let mut errors = Vec::new();
        self.values(value, ty, &mut errors);
        match errors.len() {
            0 => Ok(()),
            1 => Err(errors.remove(0).into()),
            _ => Err(problem!("errors:\n  {}", errors.join("\n  "))),
        }
    }

    /// Adds the errors of what is below a step, with the step before their paths.
    fn below(&self, step: &PathElement<'_>, value: &Value, ty: Ty<'_>, errors: &mut Vec<String>) {
        let mut found = Vec::new();
        self.values(value, ty, &mut found);
        errors.extend(found.into_iter().map(|e| prefixed(step, e)));
    }

    fn values(&self, value: &Value, ty: Ty<'_>, errors: &mut Vec<String>) {
        match (ty.atom(Some(value)), value) {
            (_, Value::Null) => {}
            (Atom::Scalar(scalar), value) => errors.extend(check_scalar(scalar, value)),
            (Atom::List(list), Value::Array(items)) => self.elements(items, &list, errors),
            (Atom::List(_), other) => errors.push(format!("expected list, got {}", pointer(other))),
            (Atom::Map(map), Value::Object(fields)) => {
                for (key, child) in fields {
                    if !self.field(key, child, &map, errors) {
                        return;
                    }
                }
            }
            (Atom::Map(_), other) => errors.push(format!("expected map, got {}", pointer(other))),
        }
    }

    /// Checks a field; false when it is not known, which ends the check of its struct.
    fn field(&self, key: &str, child: &Value, map: &MapType<'_>, errors: &mut Vec<String>) -> bool {
        let step = PathElement::field(key);
        match map.child(key) {
            Some(ty) => self.below(&step, child, ty, errors),
            None => errors.push(prefixed(&step, "field not declared in schema".into())),
        }
        map.child(key).is_some()
    }

    fn elements(&self, items: &[Value], list: &List<'_>, errors: &mut Vec<String>) {
        let mut seen: Vec<PathElement<'_>> = Vec::new();
        for (at, item) in items.iter().enumerate() {
            let step = if list.atomic {
                PathElement::Index(at as i64)
            } else {
                match list.step(item) {
                    Ok(step) => step,
                    Err(error) => return errors.push(format!("element {at}: {error}")),
                }
            };
            if !list.atomic {
                match seen.binary_search(&step) {
                    Ok(_) if self.twice => {}
                    Ok(_) => errors.push(format!("duplicate entries for key {step}")),
                    Err(to) => seen.insert(to, step.clone()),
                }
            }
            self.below(&step, item, list.element, errors);
        }
    }
}

/// A message starts with its path, when there is one, which starts with `.` or `[`.
fn prefixed(step: &PathElement<'_>, error: String) -> String {
    if error.starts_with(['.', '[']) {
        format!("{step}{error}")
    } else {
        format!("{step}: {error}")
    }
}

fn check_scalar(scalar: Scalar, value: &Value) -> Option<String> {
    let (good, said) = match scalar {
        Scalar::Numeric => (
            value.is_number(),
            format!("expected numeric (int or float), got {}", go_type(value)),
        ),
        Scalar::String => (
            value.is_string(),
            format!(
                "expected string, got &value.valueUnstructured{{Value:{}}}",
                syntax(value)
            ),
        ),
        Scalar::Boolean => (
            value.is_boolean(),
            format!("expected boolean, got {}", pointer(value)),
        ),
        Scalar::Untyped => (
            !value.is_object() && !value.is_array(),
            format!("expected any scalar, got {}", pointer(value)),
        ),
    };
    (!good).then_some(said)
}

/// A value as Go prints the pointer that holds it.
fn pointer(value: &Value) -> String {
    format!("&{{{}}}", GoValue(value))
}

/// A value in Go's syntax.
fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".into(),
        Value::String(s) => go_quote(s),
        Value::Array(items) => format!(
            "[]interface {{}}{{{}}}",
            items.iter().map(syntax).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(map) => {
            let fields: Vec<String> = map
                .iter()
                .map(|(k, v)| format!("{}:{}", go_quote(k), syntax(v)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        scalar => GoValue(scalar).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::machinery::schema::Schema;

    #[test]
    fn what_is_one_thing_or_another_may_be_anything() {
        let node = Schema::builtin().of_kind("apps/v1", "Deployment").unwrap();
        for value in [json!(["x"]), json!({"x": 1}), json!("1"), json!(1)] {
            let object = json!({"spec": {"strategy": {"rollingUpdate": {"maxSurge": value}}}});
            assert_eq!(
                validate(&object, Ty::Node(node)).map_err(|why| why.0),
                Ok(())
            );
        }
        for object in [
            json!({"spec": {"replicas": ["x"]}}),
            json!({"spec": {"template": {"spec": {"overhead": {"cpu": []}}}}}),
        ] {
            assert!(validate(&object, Ty::Node(node)).is_err(), "{object}");
        }
    }
}
