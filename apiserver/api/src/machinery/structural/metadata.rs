//! Metadata of embedded objects: read as an ObjectMeta, and held to what metadata must be.
//!
//! Invariant: metadata that was coerced is in the form that Go's decode and encode of an ObjectMeta give it.
//! Follows `apiextensions-apiserver/pkg/apiserver/schema/objectmeta/*.go`.

use std::ops::ControlFlow;

use serde_json::{Map, Value, json};

use super::node::Node;
use crate::machinery::{
    field::{Error, Errors, Kind, Path},
    names, object_meta,
    problem::Problem,
    read::Read,
    schema::{Node as Place, Schema, conform},
};

/// What is done with metadata that cannot be read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Malformed {
    /// It is an error.
    Refused,
    /// Its fields that can be read are kept.
    Dropped,
}

fn object_meta_type() -> Option<Place<'static>> {
    Schema::builtin().get("meta.v1.ObjectMeta")
}

/// Coerces embedded objects from the node down; what their metadata does not know is added to `unknown`.
pub(super) fn coerce(
    value: &mut Value,
    node: &Node,
    whole: bool,
    malformed: Malformed,
    path: &Path,
    unknown: &mut Vec<String>,
) -> Result<(), Error> {
    if !node.body.embeds && !whole {
        return Ok(());
    }
    match value {
        Value::Object(map) => {
            if whole || node.body.embedded {
                kind_and_metadata(map, malformed, path, unknown)?;
            }
            for (name, child) in map.iter_mut() {
                if let Some(property) = node.property(name) {
                    coerce(
                        child,
                        property,
                        false,
                        malformed,
                        &path.child(name),
                        unknown,
                    )?;
                } else if let Some(of) = node.additional() {
                    coerce(child, of, false, malformed, &path.key(name), unknown)?;
                }
            }
        }
        Value::Array(items) => {
            let Some(of) = node.items() else {
                return Ok(());
            };
            for (at, item) in items.iter_mut().enumerate() {
                coerce(item, of, false, malformed, &path.index(at), unknown)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn kind_and_metadata(
    map: &mut Map<String, Value>,
    malformed: Malformed,
    path: &Path,
    unknown: &mut Vec<String>,
) -> Result<(), Error> {
    for name in ["apiVersion", "kind"] {
        let Some(value) = map.get(name).filter(|value| !value.is_string()) else {
            continue;
        };
        if malformed == Malformed::Refused {
            return Err(invalid(&path.child(name), value, "must be a string"));
        }
        map.remove(name);
    }
    let Some(metadata) = map.get_mut("metadata") else {
        return Ok(());
    };
    let at = path.child("metadata");
    let before = unknown.len();
    match read(metadata, malformed, unknown) {
        Ok(()) => {
            let prefix = at.to_string();
            for path in &mut unknown[before..] {
                *path = format!("{prefix}.{path}");
            }
            Ok(())
        }
        Err(said) if malformed == Malformed::Refused => Err(invalid(&at, metadata, &said)),
        Err(_) => Ok(()),
    }
}

fn invalid(path: &Path, value: &Value, said: &str) -> Error {
    Error {
        kind: Kind::Invalid,
        field: path.to_string(),
        value: Some(value.clone()),
        detail: said.into(),
    }
}

/// Brings one metadata into the form of an ObjectMeta; paths of what it does not know are added without a prefix. A value that cannot be read is left
/// as it is.
///
/// # Errors
/// Go's words for what cannot be read.
pub fn read(
    metadata: &mut Value,
    malformed: Malformed,
    unknown: &mut Vec<String>,
) -> Result<(), Problem> {
    let place = object_meta_type().ok_or("there is no type of metadata")?;
    if metadata.is_null() {
        *metadata = json!({});
    }
    let mut read = metadata.clone();
    let failed = match conform(&mut read, place) {
        Ok(decoded) => {
            unknown.extend(decoded.unknown);
            *metadata = read;
            return Ok(());
        }
        Err(failed) => failed,
    };
    if malformed == Malformed::Refused {
        return Err(Problem(failed.0));
    }
    let Value::Object(map) = metadata else {
        return Err("invalid metadata: expected object".into());
    };
    let mut kept = Map::new();
    for (name, value) in std::mem::take(map) {
        let mut single = Value::Object(Map::from_iter([(name, value)]));
        // what cannot be read is what is to go
        if let Ok(decoded) = conform(&mut single, place) {
            unknown.extend(decoded.unknown);
            if let Value::Object(single) = single {
                kept.extend(single);
            }
        }
    }
    *map = kept;
    Ok(())
}

/// What is wrong with embedded objects from the node down.
pub(super) fn validate(value: &Value, node: &Node, whole: bool, path: &Path, errors: &mut Errors) {
    if !node.body.embeds && !whole {
        return;
    }
    match value {
        Value::Object(map) => {
            if whole || node.body.embedded {
                object(map, path, errors);
            }
            for (name, child) in map {
                if let Some(property) = node.property(name) {
                    validate(child, property, false, &path.child(name), errors);
                } else if let Some(of) = node.additional() {
                    validate(child, of, false, &path.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            let Some(of) = node.items() else { return };
            for (at, item) in items.iter().enumerate() {
                validate(item, of, false, &path.index(at), errors);
            }
        }
        _ => {}
    }
}

fn object(map: &Map<String, Value>, path: &Path, errors: &mut Errors) {
    for name in ["apiVersion", "kind"] {
        if !map.contains_key(name) {
            errors.required(&path.child(name), "");
        }
    }
    let mut text = |name: &str, check: fn(&str) -> ControlFlow<String>| {
        let at = path.child(name);
        match map.get(name) {
            None => {}
            Some(Value::String(text)) if text.is_empty() => {
                errors.invalid(&at, "", "must not be empty");
            }
            Some(Value::String(text)) => {
                if let ControlFlow::Break(said) = check(text) {
                    errors.invalid(&at, text.as_str(), said);
                }
            }
            Some(other) => errors.invalid(&at, other.clone(), "must be a string"),
        }
    };
    text("apiVersion", |text| match text.matches('/').count() {
        0 | 1 => ControlFlow::Continue(()),
        _ => ControlFlow::Break(format!("unexpected GroupVersion string: {text}")),
    });
    text("kind", |text| {
        let wrong = names::is_dns1035_label(&text.to_lowercase());
        if wrong.is_empty() {
            return ControlFlow::Continue(());
        }
        let prefix = "may have mixed case, but should otherwise match: ";
        ControlFlow::Break(format!("{prefix}{}", wrong.join(",")))
    });
    if let Some(metadata) = map.get("metadata") {
        self::metadata(metadata, path, errors);
    }
}

fn metadata(found: &Value, path: &Path, errors: &mut Errors) {
    let mut metadata = found.clone();
    if let Err(said) = read(&mut metadata, Malformed::Refused, &mut Vec::new()) {
        return errors.invalid(&path.child("metadata"), found.clone(), said);
    }
    if metadata.text("name").is_empty()
        && let Value::Object(map) = &mut metadata
    {
        // it needs none, but whatever checks metadata asks for one
        map.insert("name".into(), "fakename".into());
    }
    let namespaced = !metadata.text("namespace").is_empty();
    let object = json!({"metadata": metadata});
    let found = object_meta::validate(&object, namespaced, |name: &str, prefix: bool| {
        if prefix {
            names::is_path_segment_prefix(name)
        } else {
            names::is_path_segment_name(name)
        }
    });
    for mut error in found.0 {
        error.field = match path.is_blank() {
            true => error.field,
            false => format!("{path}.{}", error.field),
        };
        errors.0.push(error);
    }
}
