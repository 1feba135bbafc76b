//! PersistentVolumeClaims: what a claim asks for stays, but for its size and its attributes once it is bound.
//!
//! Invariant: `dataSource` and `dataSourceRef` say the same. Follows `ValidatePersistentVolumeClaim*` of `pkg/apis/core/validation/validation.go`,
//! `pkg/registry/core/persistentvolumeclaim/strategy.go` and `pkg/api/persistentvolumeclaim/util.go`.

use crate::kinds::prelude::*;
use crate::kinds::rows::core::pod::defaults::{amounts, claim_spec};
use crate::kinds::validation::checks::{immutable, one_of, qualified_name};
use crate::kinds::validation::pod::ClaimOptions;
use crate::kinds::validation::pod::resources::{amount, is_native, quantity};
use crate::kinds::validation::{diff, pod};
use crate::machinery::meta::child_mut;
use crate::machinery::quantity::Quantity;
use crate::machinery::storage::OLD_CLASS;

pub const STRATEGY: Strategy = Strategy {
    defaults,
    prepare_for_create: |claim| {
        claim["status"] = json!({"phase": "Pending"});
        data_sources(claim, None);
    },
    prepare_for_update: |new, old| data_sources(new, Some(old)),
    validate: |claim| spec(claim, ClaimOptions::default()),
    validate_update,
    validate_status_update: |new, _| status(new),
    warnings,
    ..Strategy::DEFAULT
};

fn defaults(claim: &mut Value) {
    claim_spec(fill::spec(claim));
    let status = child_mut(claim, "status");
    ["capacity", "allocatedResources"]
        .iter()
        .for_each(|list| amounts(status, list));
    fill::text(status, "phase", "Pending");
}

/// Sources of other namespaces are not to be had; sources of any kind have the newer field alone, which the older one follows.
fn data_sources(claim: &mut Value, old: Option<&Value>) {
    let had = |name: &str| old.is_some_and(|old| old.at("spec").some(name).is_some());
    let spec = fill::spec(claim);
    let foreign = |reference: &Value| !reference.text("namespace").is_empty();
    if spec.get("dataSourceRef").is_some_and(foreign) && !had("dataSourceRef") {
        spec.remove("dataSourceRef");
    }
    let there = |spec: &serde_json::Map<String, Value>, name: &str| {
        spec.get(name).is_some_and(|value| !value.is_null())
    };
    let known = |source: &Value| {
        matches!(
            (source.text("apiGroup"), source.text("kind")),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    };
    if !had("dataSource")
        && !had("dataSourceRef")
        && !there(spec, "dataSourceRef")
        && !spec.get("dataSource").is_some_and(known)
    {
        spec.remove("dataSource");
    }
    // the group is written also where there is none
    let copied = |source: &Value| {
        let mut copy = json!({"apiGroup": source.some("apiGroup")});
        for name in ["kind", "name"] {
            if let Some(value) = source.some(name) {
                copy[name] = value.clone();
            }
        }
        copy
    };
    match (
        spec.get("dataSource").filter(|value| !value.is_null()),
        spec.get("dataSourceRef").filter(|value| !value.is_null()),
    ) {
        (Some(source), None) => {
            let reference = copied(source);
            spec.insert("dataSourceRef".into(), reference);
        }
        (None, Some(reference)) if !foreign(reference) => {
            let source = copied(reference);
            spec.insert("dataSource".into(), source);
        }
        _ => {}
    }
}

fn spec(claim: &Value, options: ClaimOptions) -> Errors {
    Errors::of(|errors| pod::claim_spec(claim.at("spec"), options, &Path::new("spec"), errors))
}

fn size(of: &Value, list: &str) -> Quantity {
    of.at(list)
        .some("storage")
        .map(quantity)
        .unwrap_or_default()
}

fn validate_update(new: &Value, old: &Value) -> Errors {
    let path = Path::new("spec");
    let mut errors = spec(new, ClaimOptions::of(old.at("spec")));
    let (mut now, mut before) = (new.at("spec").clone(), old.at("spec").clone());
    if before.text("volumeName").is_empty() {
        before["volumeName"] = now.some("volumeName").cloned().unwrap_or_default();
    }
    class(new, old, &mut now, &mut errors);
    if new.at("status").text("phase") == "Bound" {
        if now.at("resources").some("requests").is_some() {
            now["resources"]["requests"]["storage"] = before
                .at("resources")
                .at("requests")
                .some("storage")
                .cloned()
                .unwrap_or_else(|| "0".into());
        }
        now["volumeAttributesClassName"] = before
            .some("volumeAttributesClassName")
            .cloned()
            .unwrap_or_default();
    }
    let shown = |spec: &Value| internal::pretty(spec, "core.PersistentVolumeClaimSpec");
    let (before, now) = (shown(&before), shown(&now));
    if before != now {
        const STAYS: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";
        errors.forbidden(&path, format!("{STAYS}\n{}", diff::unified(&before, &now)));
    }
    let (asked, had) = (
        size(new.at("spec").at("resources"), "requests"),
        size(old.at("spec").at("resources"), "requests"),
    );
    if asked < had && asked <= size(old.at("status"), "capacity") {
        errors.forbidden(
            &path.child("resources").child("requests").child("storage"),
            "field can not be less than status.capacity",
        );
    }
    immutable(
        new.at("spec").some("volumeMode"),
        old.at("spec").some("volumeMode"),
        &Path::new("volumeMode"),
        &mut errors,
    );
    attributes(
        new,
        old,
        &path.child("volumeAttributesClassName"),
        &mut errors,
    );
    errors
}

/// The class may go from the annotation to the field, and may be given once where there was none. `now` is the spec to compare.
fn class(new: &Value, old: &Value, now: &mut Value, errors: &mut Errors) {
    let (given, had) = (
        new.at("spec").text_ptr("storageClassName"),
        old.at("spec").text_ptr("storageClassName"),
    );
    let (annotated, was_annotated) = (new.annotation(OLD_CLASS), old.annotation(OLD_CLASS));
    if was_annotated.is_some()
        && had.is_none()
        && given == was_annotated
        && annotated.is_none_or(|class| Some(class) == was_annotated)
    {
        now["storageClassName"] = Value::Null;
        return;
    }
    if annotated.unwrap_or("") != was_annotated.unwrap_or("") {
        errors.invalid(
            &Path::new("metadata").child("annotations").key(OLD_CLASS),
            annotated.unwrap_or(""),
            checks::IMMUTABLE,
        );
    }
    if given.is_some() && had.is_none() && was_annotated.is_none_or(|class| given == Some(class)) {
        now["storageClassName"] = Value::Null;
    }
}

/// A class of attributes that is in effect is not taken away.
fn attributes(new: &Value, old: &Value, path: &Path, errors: &mut Errors) {
    const FIELD: &str = "volumeAttributesClassName";
    let (now, before) = (
        new.at("spec").text_ptr(FIELD),
        old.at("spec").text_ptr(FIELD),
    );
    if now == before
        || old
            .at("status")
            .some("currentVolumeAttributesClassName")
            .is_none()
    {
        return;
    }
    match now {
        None => errors.forbidden(path, "update to nil is forbidden when status.currentVolumeAttributesClassName is not nil"),
        Some("") => errors.forbidden(path, "update to empty string is forbidden when status.currentVolumeAttributesClassName is not nil"),
        _ => {}
    }
}

/// A resource of a claim; answers whether it is one.
fn resource_key(name: &str, path: &Path, errors: &mut Errors) -> bool {
    let before = errors.len();
    qualified_name(name, path, errors);
    if errors.len() == before && is_native(name) {
        one_of(name, &["storage"], path, errors);
    }
    errors.len() == before
}

fn basic(value: &Value, path: &Path, errors: &mut Errors) -> bool {
    let value = quantity(value).value();
    if value < 0 {
        errors.invalid(path, value, "must be a valid resource quantity");
    }
    value >= 0
}

fn status(claim: &Value) -> Errors {
    const STATES: &[&str] = &[
        "ControllerResizeInProgress",
        "ControllerResizeInfeasible",
        "NodeResizeInProgress",
        "NodeResizeInfeasible",
        "NodeResizePending",
    ];
    let mut errors = Errors::default();
    checks::version_required(claim, &mut errors);
    if claim.at("spec").list("accessModes").is_empty() {
        errors.required(&Path::new("Spec").child("accessModes"), "");
    }
    let (status, path) = (claim.at("status"), Path::new("status"));
    for (name, value) in status.entries("capacity") {
        basic(value, &path.child("capacity").key(name), &mut errors);
    }
    let states = path.child("allocatedResourceStatuses");
    for (name, state) in status.entries("allocatedResourceStatuses") {
        resource_key(name, &states, &mut errors);
        if !STATES.contains(&state.as_str().unwrap_or("")) {
            errors.not_supported(&states, name, STATES);
        }
    }
    let allocated = path.child("allocatedResources");
    for (name, value) in status.entries("allocatedResources") {
        if resource_key(name, &allocated, &mut errors)
            && basic(value, &allocated.key(name), &mut errors)
        {
            amount(
                "storage",
                &quantity(value),
                &allocated.key(name),
                &mut errors,
            );
        }
    }
    errors
}

fn warnings(claim: &Value, _: Option<&Value>) -> Warnings {
    let mut told = Vec::new();
    if claim.annotation(OLD_CLASS).is_some() {
        told.push(format!("metadata.annotations[{OLD_CLASS}]: deprecated since v1.8; use \"storageClassName\" attribute instead"));
    }
    pod::warnings::claim_spec(claim.at("spec"), &Path::new("spec"), &mut told);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim(size: &str, phase: &str) -> Value {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "volumeMode": "Filesystem"}, "status": {"phase": phase}})
    }

    #[test]
    fn a_claim_asks_for_what_it_asked_for_but_for_its_size() {
        assert!(validate_update(&claim("2Gi", "Bound"), &claim("1Gi", "Bound")).is_empty());
        let said = validate_update(&claim("2Gi", "Pending"), &claim("1Gi", "Pending")).message();
        assert!(
            said.starts_with("spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n@@ "),
            "{said}"
        );
        let mut had = claim("3Gi", "Bound");
        had["status"]["capacity"] = json!({"storage": "2Gi"});
        assert!(validate_update(&claim("2500Mi", "Bound"), &had).is_empty());
        assert_eq!(
            validate_update(&claim("2Gi", "Bound"), &had).message(),
            "spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"
        );
        // a class may be given once
        let mut classed = claim("1Gi", "Pending");
        classed["spec"]["storageClassName"] = "a".into();
        assert!(validate_update(&classed, &claim("1Gi", "Pending")).is_empty());
        assert_eq!(validate_update(&claim("1Gi", "Pending"), &classed).len(), 1);
    }

    #[test]
    fn sources_of_both_fields_are_the_same() {
        let prepared = |spec: Value| {
            let mut claim = json!({"spec": spec});
            data_sources(&mut claim, None);
            claim["spec"].clone()
        };
        let snapshot =
            json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "a"});
        assert_eq!(
            prepared(json!({"dataSource": snapshot})),
            json!({"dataSource": snapshot, "dataSourceRef": snapshot})
        );
        assert_eq!(
            prepared(json!({"dataSourceRef": snapshot})),
            json!({"dataSource": snapshot, "dataSourceRef": snapshot})
        );
        let claim = json!({"kind": "PersistentVolumeClaim", "name": "a"});
        assert_eq!(
            prepared(json!({"dataSource": claim}))["dataSourceRef"],
            json!({"apiGroup": null, "kind": "PersistentVolumeClaim", "name": "a"})
        );
        assert_eq!(
            prepared(json!({"dataSource": {"kind": "Odd", "name": "a"}})),
            json!({})
        );
        assert_eq!(
            prepared(
                json!({"dataSourceRef": {"kind": "PersistentVolumeClaim", "name": "a", "namespace": "b"}})
            ),
            json!({})
        );
    }
}
