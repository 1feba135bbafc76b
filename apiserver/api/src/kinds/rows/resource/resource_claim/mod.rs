//! ResourceClaims: what is asked for, which stays; what is allocated is in `status`.
//!
//! Follows `ValidateResourceClaim*` of `pkg/apis/resource/validation/validation.go`, `pkg/apis/resource/v1/defaults.go` and
//! `pkg/registry/resource/resourceclaim/strategy.go`.

mod status;

use crate::kinds::prelude::*;
use crate::kinds::rows::resource::claim;
use crate::machinery::meta::child_mut;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate,
    validate_update,
    validate_status_update: status::validate,
    prepare_for_status_update: status::forget_deallocated,
    ..Strategy::DEFAULT
};

fn defaults(object: &mut Value) {
    claim::defaults(fill::spec(object));
    let Some(allocation) = fill::inner(child_mut(object, "status"), "allocation") else {
        return;
    };
    let Some(devices) = fill::inner(allocation, "devices") else {
        return;
    };
    fill::each(devices, "results").for_each(claim::toleration_defaults);
}

fn validate(object: &Value) -> Errors {
    Errors::of(|errors| claim::validate(object.at("spec"), &Path::new("spec"), errors))
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    Errors::of(|errors| checks::immutable_spec(new, old, "resource.ResourceClaimSpec", errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_change_nothing_else_is_said() {
        let claim = |class: &str| json!({"spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": class}}]}}});
        let mut new = claim("c");
        defaults(&mut new);
        assert!(validate(&new).is_empty());
        assert_eq!(new["spec"]["devices"]["requests"][0]["exactly"]["count"], 1);
        assert!(validate_update(&new, &new).is_empty());
        assert_eq!(
            validate_update(&claim(""), &new).message(),
            r#"spec: Invalid value: {"Devices":{"Requests":[{"Name":"r","Exactly":{"DeviceClassName":"","Selectors":null,"AllocationMode":"","Count":0,"AdminAccess":null,"Tolerations":null,"Capacity":null},"FirstAvailable":null}],"Constraints":null,"Config":null}}: field is immutable"#
        );
    }
}
