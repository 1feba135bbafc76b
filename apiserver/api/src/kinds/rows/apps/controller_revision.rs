//! ControllerRevisions. Follows `pkg/apis/apps/validation/validation.go` (validateControllerRevision).
//!
//! Invariant: what a revision holds never changes.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{IMMUTABLE, invalid_shown, nonnegative};

pub const STRATEGY: Strategy = Strategy {
    validate,
    validate_update,
    ..Strategy::DEFAULT
};

fn validate(new: &Value) -> Errors {
    let mut errors = Errors::default();
    nonnegative(new.int("revision"), &Path::new("revision"), &mut errors);
    match new.some("data") {
        None => errors.required(&Path::new("data"), "data is mandatory"),
        Some(Value::Object(_)) => {}
        Some(_) => errors.required(&Path::new("data"), "data must be a valid JSON object"),
    }
    errors
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    // upstream checks metadata as that of an update and as that of a new object
    nonnegative(new.int("revision"), &Path::new("revision"), &mut errors);
    if new.some("data") != old.some("data") {
        let shown = new.some("data").map_or("null".into(), Value::to_string);
        invalid_shown(&shown, IMMUTABLE, &Path::new("data"), &mut errors);
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each() {
        for (revision, wanted) in [
            (json!({"revision": 1, "data": {}}), vec![]),
            (
                json!({"revision": -1, "data": []}),
                vec![
                    "revision: Invalid value: -1: must be greater than or equal to 0",
                    "data: Required value: data must be a valid JSON object",
                ],
            ),
            (
                json!({"revision": 1, "data": null}),
                vec!["data: Required value: data is mandatory"],
            ),
        ] {
            assert_eq!(validate(&revision).texts(), wanted);
        }
        let update = validate_update(&json!({"data": {"a": 1}}), &json!({"data": {}}));
        assert_eq!(
            update.message(),
            "data: Invalid value: {\"a\":1}: field is immutable"
        );
    }
}
