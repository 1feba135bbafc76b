//! RuntimeClasses: the handler stays, overhead is checked as limits are, and tolerations stand but once.
//!
//! Follows `pkg/apis/node/validation/validation.go` and `GetWarningsForRuntimeClass` of `pkg/api/node/util.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::IMMUTABLE;
use crate::kinds::validation::pod::options::Options;
use crate::kinds::validation::pod::warnings::deprecated_node_label;
use crate::kinds::validation::pod::{resources, tolerations};

pub const STRATEGY: Strategy = Strategy {
    validate,
    validate_update,
    warnings,
    ..Strategy::DEFAULT
};

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("handler");
    match class.text("handler") {
        "" => errors.required(&path, ""),
        handler => checks::dns_label(handler, &path, &mut errors),
    }
    if let Some(overhead) = class.some("overhead") {
        resources::overhead(
            overhead,
            "podFixed",
            &Options::default(),
            &Path::new("overhead"),
            &mut errors,
        );
    }
    if let Some(scheduling) = class.some("scheduling") {
        let path = Path::new("scheduling");
        checks::labels(
            scheduling,
            "nodeSelector",
            &path.child("nodeSelector"),
            &mut errors,
        );
        let (list, path) = (scheduling.list("tolerations"), path.child("tolerations"));
        tolerations::validate(list, &Options::default(), &path, &mut errors);
        let key = |one: &Value| {
            ["key", "operator", "value", "effect"].map(|name| one.text(name).to_string())
        };
        for (index, one) in list.iter().enumerate() {
            if list[..index].iter().any(|before| key(before) == key(one)) {
                let shown = internal::json(one, "core.Toleration");
                checks::duplicate_shown(&shown, &path.index(index), &mut errors);
            }
        }
    }
    errors
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = validate(new);
    if new.text("handler") != old.text("handler") {
        errors.invalid(&Path::new("handler"), new.text("handler"), IMMUTABLE);
    }
    errors
}

fn warnings(class: &Value, _: Option<&Value>) -> Warnings {
    let keys = class
        .at("scheduling")
        .entries("nodeSelector")
        .map(|(key, _)| key);
    keys.filter_map(deprecated_node_label)
        .map(|told| format!("scheduling.nodeSelector: {told}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handlers_overheads_and_tolerations() {
        let tolerations = json!([{"key": "a", "operator": "Exists"}, {"key": "a", "operator": "Exists", "tolerationSeconds": 1, "effect": ""}]);
        for (given, said) in [
            (
                json!({"handler": "runc", "overhead": {"podFixed": {"cpu": "1"}}}),
                "[]",
            ),
            (json!({"handler": ""}), "handler: Required value"),
            (
                json!({"handler": "a", "overhead": {"podFixed": {"cpu": "-1"}}}),
                "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
        ] {
            assert_eq!(validate(&given).message(), said);
        }
        assert!(
            validate(&json!({"handler": "a", "scheduling": {"tolerations": tolerations}}))
                .message()
                .contains("scheduling.tolerations[1]: Duplicate value: ")
        );
        assert_eq!(
            validate_update(&json!({"handler": "b"}), &json!({"handler": "a"})).message(),
            "handler: Invalid value: \"b\": field is immutable"
        );
    }
}
