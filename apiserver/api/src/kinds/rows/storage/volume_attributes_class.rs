//! VolumeAttributesClasses: who changes volumes and to what, which stays.
//!
//! Follows `ValidateVolumeAttributesClass*` of `pkg/apis/storage/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::storage::parameters::{parameters, provisioner};

pub const STRATEGY: Strategy = Strategy {
    validate,
    validate_update,
    ..Strategy::DEFAULT
};

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::default();
    provisioner(
        class.text("driverName"),
        &Path::new("driverName"),
        &mut errors,
    );
    parameters(class, false, &mut errors);
    errors
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    for name in ["driverName", "parameters"] {
        if new.some(name) != old.some(name) {
            errors.forbidden(
                &Path::new(name),
                format!("updates to {name} are forbidden."),
            );
        }
    }
    errors.extend(validate(new));
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_class_says_what_it_does_and_stays() {
        let class =
            |name: &str, parameters: Value| json!({"driverName": name, "parameters": parameters});
        assert!(
            validate_update(
                &class("a", json!({"a": "b"})),
                &class("a", json!({"a": "b"}))
            )
            .is_empty()
        );
        let said = "[driverName: Forbidden: updates to driverName are forbidden., parameters: Forbidden: updates to parameters are forbidden.]";
        assert_eq!(
            validate_update(
                &class("b", json!({"a": "c"})),
                &class("a", json!({"a": "b"}))
            )
            .message(),
            said
        );
        assert_eq!(
            validate(&class("a", json!({}))).message(),
            "parameters: Required value: must contain at least one key/value pair"
        );
    }
}
