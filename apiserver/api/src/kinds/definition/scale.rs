//! Where a definition has `/scale` read and write, and that what stands there can be shown.
//!
//! Follows `ValidateScaleSpec` and `ValidateScaleStatus` of
//! `staging/src/k8s.io/apiextensions-apiserver/pkg/registry/customresource/validator.go`.

use serde_json::Value;

use crate::machinery::{
    field::{Errors, NIL, Path},
    patch::go::{GoValue, go_type},
    problem::{Problem, problem},
};

/// Where `/scale` reads and writes, as the definition writes it: with a dot before.
#[derive(Debug)]
pub(super) struct ScalePaths {
    pub spec_replicas: String,
    pub status_replicas: String,
    pub selector: Option<String>,
}

impl ScalePaths {
    /// What `/scale` shows of an object can be shown; `whole`: what is wanted, too, not only the status.
    pub fn check(&self, value: &Value, whole: bool) -> Errors {
        let mut errors = Errors::default();
        if whole {
            count(value, &self.spec_replicas, &mut errors);
        }
        count(value, &self.status_replicas, &mut errors);
        if let Some(path) = &self.selector
            && let Err(why) = at_path(value, path).and_then(|found| match found {
                None | Some(Value::String(_)) => Ok(()),
                Some(other) => Err(accessor(path, other, "string")),
            })
        {
            errors.invalid(&Path::new(path), "", why);
        }
        errors
    }
}

/// What stands at a path with a dot before it; nothing where something on the way is absent.
fn at_path<'v>(value: &'v Value, path: &str) -> Result<Option<&'v Value>, Problem> {
    let mut at = value;
    let mut come = String::new();
    for field in path.trim_start_matches('.').split('.') {
        come.push('.');
        come.push_str(field);
        match at {
            Value::Null => return Ok(None),
            Value::Object(map) => match map.get(field) {
                Some(next) => at = next,
                None => return Ok(None),
            },
            other => {
                return Err(accessor(&come, other, "map[string]interface{}"));
            }
        }
    }
    Ok(Some(at))
}

/// What Go says of a value of another type than was looked for.
fn accessor(path: &str, found: &Value, expected: &str) -> Problem {
    let of = match found {
        Value::Null => NIL,
        found => go_type(found),
    };
    let shown = GoValue(found);
    problem!("{path} accessor error: {shown} is of the type {of}, expected {expected}")
}

/// What stands at the path is a count of replicas.
fn count(value: &Value, path: &str, errors: &mut Errors) {
    let at = Path::new(path);
    let found = match at_path(value, path) {
        Ok(None) => return,
        Ok(Some(found)) => found.as_i64().ok_or_else(|| accessor(path, found, "int64")),
        Err(why) => Err(why),
    };
    match found {
        Err(why) => errors.invalid(&at, 0, why),
        Ok(count) if count < 0 => errors.invalid(&at, count, "should be a non-negative integer"),
        Ok(count) if count > i64::from(i32::MAX) => errors.invalid(
            &at,
            count,
            format!("should be less than or equal to {}", i32::MAX),
        ),
        Ok(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn null_is_no_count() {
        let value = json!({"spec": {"n": null}});
        let errors = Errors::of(|errors| count(&value, ".spec.n", errors));
        assert_eq!(
            errors.message(),
            ".spec.n: Invalid value: 0: .spec.n accessor error: <nil> is of the type <nil>, expected int64"
        );
    }
}
