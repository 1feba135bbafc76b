//! Validation of metadata, the same for every kind.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/api/validation/objectmeta.go`.

use crate::machinery::read::Read;
use serde_json::Value;

use super::{
    field::{Errors, Path},
    meta::Meta,
    names,
    quote::{GoNumbered, is_printable},
};

const TOTAL_ANNOTATION_SIZE: usize = 256 * 1024;
const IMMUTABLE: &str = "field is immutable";

/// Metadata of an object that is about to be made. `validate_name` tells the problems of a name; its flag tells a prefix from a name.
pub fn validate(
    object: &Value,
    namespaced: bool,
    validate_name: impl Fn(&str, bool) -> Vec<String>,
) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("metadata");
    let prefix = object.meta_str("generateName");
    if !prefix.is_empty() {
        errors.invalid_all(
            &path.child("generateName"),
            prefix,
            validate_name(prefix, true),
        );
    }
    let name = object.name();
    if name.is_empty() {
        errors.required(&path.child("name"), "name or generateName is required");
    } else {
        errors.invalid_all(&path.child("name"), name, validate_name(name, false));
    }
    let namespace = object.namespace();
    if namespaced {
        if namespace.is_empty() {
            errors.required(&path.child("namespace"), "");
        } else {
            errors.invalid_all(
                &path.child("namespace"),
                namespace,
                names::is_dns1123_label(namespace),
            );
        }
    } else if !namespace.is_empty() {
        errors.forbidden(&path.child("namespace"), "not allowed on this type");
    }
    common(object, &mut errors);
    errors
}

/// What is looked at once more of an object that replaces another.
fn maps_and_owners(object: &Value, errors: &mut Errors) {
    let path = Path::new("metadata");
    let meta = object.meta();
    labels(
        meta.and_then(|m| m.get("labels")),
        &path.child("labels"),
        errors,
    );
    annotations(
        meta.and_then(|m| m.get("annotations")),
        &path.child("annotations"),
        errors,
    );
    owner_references(
        meta.and_then(|m| m.get("ownerReferences")),
        &path.child("ownerReferences"),
        errors,
    );
}

/// What create and update check alike.
fn common(object: &Value, errors: &mut Errors) {
    let path = Path::new("metadata");
    if object.generation() < 0 {
        errors.invalid(
            &path.child("generation"),
            object.generation(),
            "must be greater than or equal to 0",
        );
    }
    maps_and_owners(object, errors);
    finalizers(object, errors);
    managed_fields(
        object.meta().and_then(|meta| meta.get("managedFields")),
        &path.child("managedFields"),
        errors,
    );
}

/// A map of labels.
pub fn labels(labels: Option<&Value>, path: &Path, errors: &mut Errors) {
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        errors.invalid_all(path, key, names::is_qualified_name(key));
        let value = value.as_str().unwrap_or("");
        errors.invalid_all(path, value, names::is_label_value(value));
    }
}

pub fn annotations(annotations: Option<&Value>, path: &Path, errors: &mut Errors) {
    let mut size = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        errors.invalid_all(path, key, names::is_qualified_name(&key.to_lowercase()));
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    if size > TOTAL_ANNOTATION_SIZE {
        errors.too_long(path, TOTAL_ANNOTATION_SIZE as i64);
    }
}

fn owner_references(owners: Option<&Value>, path: &Path, errors: &mut Errors) {
    let mut controller: Option<&Value> = None;
    for owner in owners.and_then(Value::as_array).into_iter().flatten() {
        let text = |name: &str| owner.text(name);
        let api_version = text("apiVersion");
        let (_, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        // a version that cannot be read counts as none
        if version.is_empty() || api_version.matches('/').count() > 1 {
            errors.invalid(
                &path.child("apiVersion"),
                api_version,
                "version must not be empty",
            );
        }
        for name in ["kind", "name", "uid"] {
            if text(name).is_empty() {
                errors.invalid(&path.child(name), "", "must not be empty");
            }
        }
        if api_version == "v1" && text("kind") == "Event" {
            errors.invalid_object(
                path,
                owner,
                "meta.v1.OwnerReference",
                "/v1, Kind=Event is disallowed from being an owner",
            );
        }
        if owner.flag("controller") {
            match controller {
                Some(first) => {
                    let who = |o: &Value| format!("{}/{}", o.text("kind"), o.text("name"));
                    let all = owners
                        .and_then(Value::as_array)
                        .map_or(&[][..], Vec::as_slice);
                    let said = format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                        who(first),
                        who(owner)
                    );
                    errors.invalid_list(path, all, "meta.v1.OwnerReference", said);
                }
                None => controller = Some(owner),
            }
        }
    }
}

fn finalizers(object: &Value, errors: &mut Errors) {
    const FOREGROUND: &str = "foregroundDeletion";
    const ORPHAN: &str = "orphan";
    let path = Path::new("metadata");
    let path = path.child("finalizers");
    let (mut foreground, mut orphan) = (false, false);
    for name in object.finalizers() {
        errors.invalid_all(&path, name, names::is_qualified_name(name));
        foreground |= name == FOREGROUND;
        orphan |= name == ORPHAN;
    }
    if foreground && orphan {
        let all = object.at("metadata").at("finalizers").clone();
        errors.invalid(
            &path,
            all,
            format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set"),
        );
    }
}

/// Finalizers are upstream's own or bear a domain.
pub fn standard_finalizers(object: &Value) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("metadata");
    let path = path.child("finalizers");
    for (index, name) in object.finalizers().enumerate() {
        standard_finalizer(name, &path.index(index), &mut errors);
    }
    errors
}

/// The same of one name.
pub fn standard_finalizer(name: &str, path: &Path, errors: &mut Errors) {
    if !name.contains('/') && !["kubernetes", "orphan", "foregroundDeletion"].contains(&name) {
        errors.invalid(
            path,
            name,
            "name is neither a standard finalizer name nor is it fully qualified",
        );
    }
}

fn managed_fields(entries: Option<&Value>, path: &Path, errors: &mut Errors) {
    for (index, entry) in entries
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .enumerate()
    {
        let at = path.index(index);
        let operation = entry.text("operation");
        if !matches!(operation, "Apply" | "Update") {
            errors.invalid(
                &at.child("operation"),
                operation,
                "must be `Apply` or `Update`",
            );
        }
        let fields_type = entry.text("fieldsType");
        if !fields_type.is_empty() && fields_type != "FieldsV1" {
            errors.invalid(&at.child("fieldsType"), fields_type, "must be `FieldsV1`");
        }
        field_manager(entry.text("manager"), &at.child("manager"), errors);
        if entry.text("subresource").len() > 256 {
            errors.too_long(&at.child("subresource"), 256);
        }
    }
}

/// The name of a field manager.
pub fn field_manager(manager: &str, path: &Path, errors: &mut Errors) {
    if manager.len() > 128 {
        errors.too_long(path, 128);
    }
    for (at, c) in manager.char_indices() {
        if !is_printable(c) || c == char::REPLACEMENT_CHARACTER {
            errors.invalid(
                path,
                manager,
                format!("invalid character {} (at position {at})", GoNumbered(c)),
            );
        }
    }
}

/// Metadata of an object that is about to replace another.
pub fn validate_update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    let path = Path::new("metadata");
    common_update(new, old, &mut errors);
    for name in ["name", "namespace", "uid"] {
        if new.meta_str(name) != old.meta_str(name) {
            errors.invalid(&path.child(name), new.meta_str(name), IMMUTABLE);
        }
    }
    for name in [
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let (n, o) = (
            new.meta().and_then(|m| m.get(name)),
            old.meta().and_then(|m| m.get(name)),
        );
        if n != o {
            errors.invalid(&path.child(name), n.cloned().unwrap_or_default(), IMMUTABLE);
        }
    }
    maps_and_owners(new, &mut errors);
    managed_fields(
        new.meta().and_then(|meta| meta.get("managedFields")),
        &path.child("managedFields"),
        &mut errors,
    );
    errors
}

fn common_update(new: &Value, old: &Value, errors: &mut Errors) {
    let path = Path::new("metadata");
    if old.is_deleting() {
        let added: Vec<&str> = new
            .finalizers()
            .filter(|name| !old.finalizers().any(|had| had == *name))
            .collect();
        if !added.is_empty() {
            let found: Vec<String> = added
                .iter()
                .map(|name| super::quote::go_quote(name))
                .collect();
            errors.forbidden(
                &path.child("finalizers"),
                format!("no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}", found.join(", ")),
            );
        }
    }
    let (n, o) = (new.resource_version(), old.resource_version());
    if n.is_empty() && !o.is_empty() {
        errors.invalid(
            &path.child("resourceVersion"),
            n,
            "must be specified for an update",
        );
    }
    if new.generation() < old.generation() {
        errors.invalid(
            &path.child("generation"),
            new.generation(),
            "must not be decremented",
        );
    }
}
