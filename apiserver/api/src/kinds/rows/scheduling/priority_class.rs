//! PriorityClasses: the largest numbers are the system's, and a class stays what it is.
//!
//! Follows `pkg/apis/scheduling/validation/validation.go` and `pkg/apis/scheduling/v1/{defaults,helpers}.go`; for
//! deletions `pkg/registry/scheduling/priorityclass/storage/storage.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{IMMUTABLE, invalid_or_null, required_one_of};

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate,
    validate_update,
    stays,
    ..Strategy::DEFAULT
};

const HIGHEST_OF_USERS: i64 = 1_000_000_000;
/// The classes that the system brings along.
const SYSTEM: [(&str, i64); 2] = [
    ("system-node-critical", 2 * HIGHEST_OF_USERS + 1000),
    ("system-cluster-critical", 2 * HIGHEST_OF_USERS),
];

fn stays(name: &str) -> Option<&'static str> {
    let is_system = SYSTEM.iter().any(|(known, _)| *known == name);
    is_system.then_some("this is a system priority class and cannot be deleted")
}

fn defaults(class: &mut Value) {
    if let Some(map) = class.as_object_mut() {
        fill::absent(map, "preemptionPolicy", "PreemptLowerPriority");
    }
}

fn validate(class: &Value) -> Errors {
    let mut errors = Errors::default();
    let (name, value) = (class.name(), class.int("value"));
    if name.starts_with("system-") {
        let why = match SYSTEM.iter().find(|(known, _)| *known == name) {
            None => Some(format!("{name} is not a known system priority class")),
            Some((_, fixed)) if *fixed != value => {
                Some(format!("value of {name} PriorityClass must be {fixed}"))
            }
            Some(_) if class.flag("globalDefault") => Some(format!(
                "globalDefault of {name} PriorityClass must be false"
            )),
            Some(_) => None,
        };
        if let Some(why) = why {
            let reserved = "priority class names with 'system-' prefix are reserved for system use only. error: ";
            errors.forbidden(
                &Path::new("metadata").child("name"),
                format!("{reserved}{why}"),
            );
        }
    } else if value > HIGHEST_OF_USERS {
        errors.forbidden(
            &Path::new("value"),
            format!("maximum allowed value of a user defined priority is {HIGHEST_OF_USERS}"),
        );
    }
    if let Some(policy) = class.text_ptr("preemptionPolicy") {
        required_one_of(
            policy,
            &["PreemptLowerPriority", "Never"],
            &Path::new("preemptionPolicy"),
            &mut errors,
        );
    }
    errors
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    if new.int("value") != old.int("value") {
        errors.forbidden(&Path::new("value"), "may not be changed in an update.");
    }
    if new.some("preemptionPolicy") != old.some("preemptionPolicy") {
        invalid_or_null(
            new.some("preemptionPolicy"),
            IMMUTABLE,
            &Path::new("preemptionPolicy"),
            &mut errors,
        );
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_users_and_of_the_system() {
        let class = |name: &str, value: i64| json!({"metadata": {"name": name}, "value": value, "preemptionPolicy": "Never"});
        let reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: ";
        for (given, said) in [
            (class("a", 1_000_000_000), "[]".to_string()),
            (
                class("a", 1_000_000_001),
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"
                    .into(),
            ),
            (class("system-node-critical", 2_000_001_000), "[]".into()),
            (
                class("system-node-critical", 1),
                format!("{reserved}value of system-node-critical PriorityClass must be 2000001000"),
            ),
            (
                class("system-x", 1),
                format!("{reserved}system-x is not a known system priority class"),
            ),
        ] {
            assert_eq!(validate(&given).message(), said);
        }
    }

    #[test]
    fn a_class_stays_what_it_is() {
        let class = |value: i64, policy: &str| json!({"metadata": {"name": "a"}, "value": value, "preemptionPolicy": policy});
        assert!(validate_update(&class(1, "Never"), &class(1, "Never")).is_empty());
        let said = "[value: Forbidden: may not be changed in an update., preemptionPolicy: Invalid value: \"Never\": field is immutable]";
        assert_eq!(
            validate_update(&class(1, "Never"), &class(2, "PreemptLowerPriority")).message(),
            said
        );
    }
}
