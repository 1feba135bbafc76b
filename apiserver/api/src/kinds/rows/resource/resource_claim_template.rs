//! ResourceClaimTemplates: what claims are made of, which stays.
//!
//! Follows `ValidateResourceClaimTemplate*` of `pkg/apis/resource/validation/validation.go` and `pkg/registry/resource/resourceclaimtemplate/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::resource::claim;
use crate::kinds::validation::pod::template_metadata;
use crate::machinery::meta::child_mut;
use crate::machinery::schema::{Schema, conform};

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate,
    validate_update,
    ..Strategy::DEFAULT
};

fn defaults(template: &mut Value) {
    if let Some(spec) = fill::inner(child_mut(template, "spec"), "spec") {
        claim::defaults(spec);
    }
}

fn validate(template: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (template.at("spec"), Path::new("spec"));
    template_metadata(spec.at("metadata"), &path.child("metadata"), &mut errors);
    claim::validate(spec.at("spec"), &path.child("spec"), &mut errors);
    errors
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = validate(new);
    // lists that are given and empty are no change
    let mut bare = new.clone();
    let node = Schema::builtin().of_kind(new.text("apiVersion"), "ResourceClaimTemplate");
    let bare = match node.map(|node| conform(&mut bare, node)) {
        Some(Ok(_)) => &bare,
        _ => new,
    };
    checks::immutable_spec(bare, old, "resource.ResourceClaimTemplateSpec", &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(metadata: Value, class: &str) -> Value {
        let mut template = json!({"spec": {"metadata": metadata, "spec": {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": class}}]}}}});
        defaults(&mut template);
        template
    }

    #[test]
    fn what_a_template_may_say() {
        for (given, said) in [
            (template(json!({"labels": {"a": "b"}}), "c"), "[]"),
            (
                template(json!({"name": "a"}), "c"),
                "spec.metadata.name: Forbidden: cannot be set",
            ),
            (
                template(json!({}), ""),
                "spec.spec.devices.requests[0].exactly.deviceClassName: Required value",
            ),
        ] {
            assert_eq!(validate(&given).message(), said);
        }
        assert_eq!(
            template(json!({}), "c")["spec"]["spec"]["devices"]["requests"][0]["exactly"]["count"],
            1
        );
    }

    #[test]
    fn it_stays() {
        let (new, old) = (
            template(json!({"labels": {"a": "b"}}), "c"),
            template(json!({}), "c"),
        );
        assert_eq!(
            validate_update(&new, &old).message(),
            r#"spec: Invalid value: {"labels":{"a":"b"},"Spec":{"Devices":{"Requests":[{"Name":"r","Exactly":{"DeviceClassName":"c","Selectors":null,"AllocationMode":"ExactCount","Count":1,"AdminAccess":null,"Tolerations":null,"Capacity":null},"FirstAvailable":null}],"Constraints":null,"Config":null}}}: field is immutable"#
        );
        assert!(validate_update(&old, &old).is_empty());
    }
}
