//! IPAddresses: the name is the address, and whose it is never changes.
//!
//! Follows `ValidateIPAddress*` of `pkg/apis/networking/validation/validation.go`.

use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{IMMUTABLE, invalid_shown, required_segment, segment};

pub const STRATEGY: Strategy = Strategy {
    validate,
    validate_update,
    ..Strategy::DEFAULT
};

fn validate(address: &Value) -> Errors {
    let mut errors = Errors::default();
    let spec = Path::new("spec");
    let path = spec.child("parentRef");
    let Some(parent) = address.at("spec").some("parentRef") else {
        errors.required(&path, "");
        return errors;
    };
    if !parent.text("group").is_empty() {
        checks::subdomain(parent.text("group"), &path.child("group"), &mut errors);
    }
    required_segment(
        parent.text("resource"),
        &path.child("resource"),
        &mut errors,
    );
    required_segment(parent.text("name"), &path.child("name"), &mut errors);
    segment(
        parent.text("namespace"),
        &path.child("namespace"),
        &mut errors,
    );
    errors
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = validate(new);
    let (now, before) = (
        new.at("spec").some("parentRef"),
        old.at("spec").some("parentRef"),
    );
    if now != before {
        let shown = now.map_or("null".into(), |parent| {
            internal::json(parent, "networking.ParentReference")
        });
        invalid_shown(
            &shown,
            IMMUTABLE,
            &Path::new("spec").child("parentRef"),
            &mut errors,
        );
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_stays() {
        let of = |name: &str| json!({"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": name}}});
        assert!(validate(&of("a")).is_empty() && validate_update(&of("a"), &of("a")).is_empty());
        assert_eq!(
            validate(&of("")).message(),
            "spec.parentRef.name: Required value"
        );
        let said = r#"spec.parentRef: Invalid value: {"Group":"","Resource":"services","Namespace":"default","Name":"b"}: field is immutable"#;
        assert_eq!(validate_update(&of("b"), &of("a")).message(), said);
    }
}
