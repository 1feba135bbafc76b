//! VolumeAttachments: which volume is to be at which node, which stays.
//!
//! Follows `ValidateVolumeAttachment*` of `pkg/apis/storage/validation/validation.go` and `pkg/registry/storage/volumeattachment/strategy.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::core::persistent_volume::{self, Place, source_defaults};
use crate::kinds::validation::pod::volume_remote::csi_driver_name;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    validate,
    validate_update,
    ..Strategy::DEFAULT
};

const LARGEST_METADATA: usize = 256 * 1024;
const LONGEST_MESSAGE: usize = 1024;

/// A volume that is described in place has the defaults of one that stands by itself.
fn defaults(attachment: &mut Value) {
    let spec = attachment.pointer_mut("/spec/source/inlineVolumeSpec");
    if let Some(spec) = spec.and_then(Value::as_object_mut) {
        source_defaults(spec);
    }
}

fn validate(attachment: &Value) -> Errors {
    let mut errors = Errors::default();
    let (spec, path) = (attachment.at("spec"), Path::new("spec"));
    csi_driver_name(spec.text("attacher"), &path.child("attacher"), &mut errors);
    source(spec.at("source"), &path.child("source"), &mut errors);
    checks::subdomain(spec.text("nodeName"), &path.child("nodeName"), &mut errors);
    status(attachment.at("status"), &Path::new("status"), &mut errors);
    if let Some(name) = spec.at("source").text_ptr("persistentVolumeName") {
        checks::subdomain(
            name,
            &path.child("source").child("persistentVolumeName"),
            &mut errors,
        );
    }
    errors
}

fn source(source: &Value, path: &Path, errors: &mut Errors) {
    const ONE: &str = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
    match (
        source.some("inlineVolumeSpec"),
        source.text_ptr("persistentVolumeName"),
    ) {
        (None, None) => errors.required(path, ONE),
        (Some(_), Some(_)) => errors.forbidden(path, ONE),
        (_, Some("")) => errors.required(
            &path.child("persistentVolumeName"),
            "must specify non empty persistentVolumeName",
        ),
        (Some(spec), None) => {
            let path = path.child("inlineVolumeSpec");
            persistent_volume::validate_spec(spec, "", Place::Inline, &path, errors);
        }
        (None, Some(_)) => {}
    }
}

fn status(status: &Value, path: &Path, errors: &mut Errors) {
    let size: usize = status
        .entries("attachmentMetadata")
        .map(|(key, value)| key.len() + value.as_str().map_or(0, str::len))
        .sum();
    if size > LARGEST_METADATA {
        errors.too_long(&path.child("attachmentMetadata"), LARGEST_METADATA as i64);
    }
    for name in ["attachError", "detachError"] {
        let (error, path) = (status.at(name), path.child(name));
        if error.text("message").len() > LONGEST_MESSAGE {
            // as upstream has it, which names another limit than it checks
            errors.too_long(&path.child("message"), LARGEST_METADATA as i64);
        }
        if let Some(code) = error.int_ptr("errorCode").filter(|code| *code < 0) {
            errors.invalid(
                &path.child("errorCode"),
                code,
                "must be between 0 and 2147483647, inclusive",
            );
        }
    }
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = validate(new);
    checks::immutable_spec(new, old, "storage.VolumeAttachmentSpec", &mut errors);
    errors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_that_stays() {
        let of = |source: Value| json!({"spec": {"attacher": "a.example.com", "nodeName": "n", "source": source}});
        assert!(validate(&of(json!({"persistentVolumeName": "a"}))).is_empty());
        let said = "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName";
        assert_eq!(validate(&of(json!({}))).message(), said);
        // of a class that a volume within names nothing is asked
        let within = |class: &str| {
            of(
                json!({"inlineVolumeSpec": {"accessModes": ["ReadWriteOnce"], "volumeAttributesClassName": class,
                "csi": {"driver": "a.example.com", "volumeHandle": "h"}}}),
            )
        };
        assert_eq!(
            validate(&within("Odd Value!")).message(),
            validate(&within("good")).message()
        );
        let shown = r#"{"Attacher":"a.example.com","Source":{"PersistentVolumeName":"b","InlineVolumeSpec":null},"NodeName":"n"}"#;
        let changed = validate_update(
            &of(json!({"persistentVolumeName": "b"})),
            &of(json!({"persistentVolumeName": "a"})),
        );
        assert_eq!(
            changed.message(),
            format!("spec: Invalid value: {shown}: field is immutable")
        );
    }
}
