//! DeviceClasses: what devices of a class have in common, and how they are set up.
//!
//! Follows `ValidateDeviceClass*` of `pkg/apis/resource/validation/validation.go` and `pkg/registry/resource/deviceclass/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::resource::{devices, sets};
use crate::kinds::validation::pod::resources::is_extended;

pub const STRATEGY: Strategy = Strategy {
    validate: |class| validate(class, None),
    validate_update: |new, old| validate(new, Some(old)),
    ..Strategy::DEFAULT
};

fn validate(class: &Value, old: Option<&Value>) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (class.at("spec"), Path::new("spec"));
    devices::selectors(spec, &path, &mut errors);
    let stored = old.is_some_and(|old| old.at("spec").list("config") == spec.list("config"));
    let check = |config: &Value, path: &Path, errors: &mut Errors| {
        devices::configuration(config, stored, path, errors)
    };
    sets::list(
        spec.list("config"),
        devices::MOST_CONFIGURATIONS,
        &check,
        &path.child("config"),
        &mut errors,
    );
    if let Some(name) = spec
        .text_ptr("extendedResourceName")
        .filter(|name| !is_extended(name))
    {
        errors.invalid(
            &path.child("extendedResourceName"),
            name,
            "must be a valid extended resource name",
        );
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_class_may_say() {
        let config = |driver: &str, parameters: Value| json!({"config": [{"opaque": {"driver": driver, "parameters": parameters}}]});
        for (spec, said) in [
            (json!({}), "[]"),
            (config("gpu.example.com", json!({})), "[]"),
            (
                config("", json!({})),
                "spec.config[0].opaque.driver: Required value",
            ),
            (
                json!({"config": vec![json!({}); 33]}),
                "spec.config: Too many: 33: must have at most 32 items",
            ),
            (
                json!({"selectors": [{}]}),
                "spec.selectors[0].cel: Required value",
            ),
            (json!({"extendedResourceName": "example.com/gpu"}), "[]"),
            (
                json!({"extendedResourceName": "cpu"}),
                "spec.extendedResourceName: Invalid value: \"cpu\": must be a valid extended resource name",
            ),
        ] {
            assert_eq!(
                validate(&json!({"spec": spec}), None).message(),
                said,
                "{spec}"
            );
        }
    }

    #[test]
    fn what_is_stored_may_be_large() {
        let large = json!({"spec": {"config": [{"opaque": {"driver": "a", "parameters": {"a": "x".repeat(10 * 1024)}}}]}});
        assert_eq!(validate(&large, None).len(), 1);
        assert_eq!(validate(&large, Some(&large)).len(), 0);
        assert_eq!(validate(&large, Some(&json!({"spec": {}}))).len(), 1);
    }
}
