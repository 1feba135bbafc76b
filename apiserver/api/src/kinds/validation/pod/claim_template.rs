//! Claims that are made of a template: of ephemeral volumes and of StatefulSets. Follows `pkg/apis/core/validation/validation.go`
//! (ValidatePersistentVolumeClaimTemplate, ValidatePersistentVolumeClaimSpec).
//!
//! Invariant: a claim asks for at least one access mode and for more than no storage.

use super::resources::{amount, quantity};
use super::volume_sources::refuse_other_metadata;
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{
    dns_label, invalid_shown, is_good, label_selector, labels, one_of, subdomain, unsupported,
};
use crate::machinery::object_meta;

const ACCESS_MODES: &[&str] = &[
    "ReadOnlyMany",
    "ReadWriteMany",
    "ReadWriteOnce",
    "ReadWriteOncePod",
];
const ALONE: &str = "ReadWriteOncePod";

/// `ephemeral.volumeClaimTemplate`.
pub fn claim_template(template: &Value, path: &Path, errors: &mut Errors) {
    template_metadata(template.at("metadata"), &path.child("metadata"), errors);
    claim_spec(
        template.at("spec"),
        ClaimOptions::default(),
        &path.child("spec"),
        errors,
    );
}

/// The metadata of what claims are made of: annotations and labels, nothing else.
pub fn template_metadata(metadata: &Value, path: &Path, errors: &mut Errors) {
    object_meta::annotations(
        metadata.some("annotations"),
        &path.child("annotations"),
        errors,
    );
    labels(metadata, "labels", &path.child("labels"), errors);
    refuse_other_metadata(metadata, path, errors);
}

/// What an update may leave in a claim, though it would be refused anew.
#[derive(Clone, Copy, Default)]
pub struct ClaimOptions {
    odd_selector_values: bool,
    odd_groups: bool,
}

impl ClaimOptions {
    /// For an update of this spec.
    pub fn of(old: &Value) -> ClaimOptions {
        ClaimOptions {
            odd_selector_values: !is_good(|errors| {
                label_selector(old.some("selector"), false, &Path::new(""), errors)
            }),
            odd_groups: ["dataSource", "dataSourceRef"]
                .iter()
                .any(|name| old.at(name).some("apiGroup").is_some()),
        }
    }
}

/// The spec of a claim.
pub fn claim_spec(spec: &Value, options: ClaimOptions, path: &Path, errors: &mut Errors) {
    let at = path.child("accessModes");
    if spec.list("accessModes").is_empty() {
        errors.required(&at, "at least 1 access mode is required");
    }
    label_selector(
        spec.some("selector"),
        options.odd_selector_values,
        &path.child("selector"),
        errors,
    );
    access_modes(spec, &at, errors);
    storage(spec, &path.child("resources").key("storage"), errors);
    let class = |name: &str, errors: &mut Errors| {
        let given = spec.text(name);
        if !given.is_empty() {
            subdomain(given, &path.child(name), errors);
        }
    };
    class("storageClassName", errors);
    if let Some(mode) = spec.text_ptr("volumeMode") {
        one_of(
            mode,
            &["Block", "Filesystem"],
            &path.child("volumeMode"),
            errors,
        );
    }
    data_sources(spec, options, path, errors);
    class("volumeAttributesClassName", errors);
}

/// The access modes of a claim or volume: known, and one of them alone if it is that.
pub fn access_modes(spec: &Value, path: &Path, errors: &mut Errors) {
    for mode in spec
        .texts("accessModes")
        .filter(|mode| !ACCESS_MODES.contains(mode))
    {
        unsupported(mode, ACCESS_MODES, path, errors);
    }
    let (alone, others) = spec
        .texts("accessModes")
        .filter(|mode| ACCESS_MODES.contains(mode))
        .fold((false, false), |(alone, others), mode| {
            (alone || mode == ALONE, others || mode != ALONE)
        });
    if alone && others {
        errors.forbidden(path, "may not use ReadWriteOncePod with other access modes");
    }
}

fn storage(spec: &Value, path: &Path, errors: &mut Errors) {
    let Some(asked) = spec
        .at("resources")
        .at("requests")
        .some("storage")
        .map(quantity)
    else {
        return errors.required(path, "");
    };
    if asked.sign() <= 0 {
        errors.invalid(path, asked.to_string(), "must be greater than zero");
    } else {
        amount("storage", &asked, path, errors);
    }
}

fn data_sources(spec: &Value, options: ClaimOptions, path: &Path, errors: &mut Errors) {
    for name in ["dataSource", "dataSourceRef"] {
        let Some(source) = spec.some(name) else {
            continue;
        };
        let at = path.child(name);
        for field in ["name", "kind"] {
            if source.text(field).is_empty() {
                errors.required(&at.child(field), "");
            }
        }
        let (group, kind) = (source.text("apiGroup"), source.text("kind"));
        if group.is_empty() && kind != "PersistentVolumeClaim" {
            errors.invalid(
                &at,
                kind,
                "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
            );
        }
        if !group.is_empty() && !options.odd_groups {
            subdomain(group, &at.child("apiGroup"), errors);
        }
        let namespace = source.text("namespace");
        if name == "dataSourceRef" && !namespace.is_empty() {
            dns_label(namespace, &at.child("namespace"), errors);
        }
    }
    let (Some(source), Some(reference)) = (spec.some("dataSource"), spec.some("dataSourceRef"))
    else {
        return;
    };
    let same = ["apiGroup", "kind", "name"]
        .iter()
        .all(|name| source.some(name) == reference.some(name));
    let why = if !reference.text("namespace").is_empty() {
        "may not be specified when dataSourceRef.namespace is specified"
    } else if !same {
        "must match dataSourceRef"
    } else {
        return;
    };
    // upstream shows the path where the value should be; it has no fields that JSON sees
    invalid_shown("{}", why, path, errors);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specs() {
        let good = json!({"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}});
        let with = |name: &str, value: Value| {
            let mut spec = good.clone();
            spec[name] = value;
            spec
        };
        for (spec, wanted) in [
            (good.clone(), vec![]),
            (
                json!({}),
                vec![
                    "s.accessModes: Required value: at least 1 access mode is required",
                    "s.resources[storage]: Required value",
                ],
            ),
            (
                with("accessModes", json!(["ReadWriteOnce", "ReadWriteOncePod"])),
                vec![
                    "s.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
                ],
            ),
            (
                with("volumeMode", json!("x")),
                vec![
                    "s.volumeMode: Unsupported value: \"x\": supported values: \"Block\", \"Filesystem\"",
                ],
            ),
            (
                with("dataSource", json!({"kind": "X", "name": "a"})),
                vec![
                    "s.dataSource: Invalid value: \"X\": must be 'PersistentVolumeClaim' when referencing the default apiGroup",
                ],
            ),
        ] {
            let mut errors = Errors::default();
            claim_spec(&spec, ClaimOptions::default(), &Path::new("s"), &mut errors);
            assert_eq!(errors.texts(), wanted);
        }
    }

    #[test]
    fn metadata() {
        let mut errors = Errors::default();
        claim_template(
            &json!({"metadata": {"name": "x"}, "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1"}}}}),
            &Path::new("t"),
            &mut errors,
        );
        assert_eq!(
            errors.message(),
            "t.metadata.name: Forbidden: cannot be set"
        );
    }
}
