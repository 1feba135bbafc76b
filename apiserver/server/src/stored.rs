//! Between the values that verbs work on and the bytes that the store keeps.
//!
//! Invariant: stored bytes begin with `{"apiVersion":"…","kind":"…",`, keys are sorted, and `metadata.resourceVersion` is the revision.

use std::sync::Arc;

use serde_json::{Map, Value};
use skiff_api::{
    kinds::{self, Kind},
    machinery::{meta::Meta, status::Status},
};
use skiff_storage::{Attributes, Draft, Key, Object};

/// `plural.group` of the row under which `kind` is stored.
pub fn resource_of(kind: &Kind) -> Arc<str> {
    match kind.stored_as {
        Some(alias) => alias.resource.into(),
        None => kind.resource().into(),
    }
}

pub fn key_of(kind: &Kind, namespace: &str, name: &str) -> Key {
    Key { resource: resource_of(kind), namespace: if kind.namespaced { namespace.into() } else { "".into() }, name: name.into() }
}

/// The object as `kind` shows it.
pub fn decoded(kind: &Kind, object: &Object) -> Result<Value, Status> {
    let mut value: Value =
        serde_json::from_slice(&object.bytes).map_err(|error| Status::internal(format!("cannot read the stored {:?}: {error}", object.key)))?;
    if let Some(alias) = kind.stored_as {
        (alias.from_stored)(&mut value);
        value["apiVersion"] = kind.api_version().into();
        value["kind"] = kind.kind.into();
    }
    Ok(value)
}

/// How much of the bytes of an object in a list is left out: `"apiVersion":"v1","kind":"Pod",` after the brace.
pub fn type_meta_len(kind: &Kind) -> usize {
    format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\",", kind.api_version(), kind.kind).len() - 1
}

/// The row whose objects are stored for `kind`.
pub fn stored_row(kind: &'static Kind) -> &'static Kind {
    match kind.stored_as {
        Some(alias) => kinds::stored(alias.resource).unwrap_or(kind),
        None => kind,
    }
}

/// Makes the draft of a value of `kind`. The resourceVersion that the value bears is left out; the writer puts its own.
pub fn draft(kind: &'static Kind, value: &Value) -> Result<Draft, Status> {
    let row = stored_row(kind);
    let converted;
    let value = match kind.stored_as {
        Some(alias) => {
            let mut other = value.clone();
            (alias.to_stored)(&mut other);
            converted = other;
            &converted
        }
        None => value,
    };
    let object = value.as_object().ok_or_else(|| Status::internal("an object is no JSON object"))?;
    let mut bytes = Vec::with_capacity(1024);
    let mut revision_at = 0;
    bytes.extend_from_slice(format!("{{\"apiVersion\":\"{}\",\"kind\":\"{}\"", row.api_version(), row.kind).as_bytes());
    for (name, child) in object {
        match name.as_str() {
            "apiVersion" | "kind" => {}
            "metadata" => {
                let meta = child.as_object().ok_or_else(|| Status::internal("metadata is no object"))?;
                bytes.extend_from_slice(b",\"metadata\":{");
                write_metadata(&mut bytes, meta, &mut revision_at);
                bytes.push(b'}');
            }
            name => {
                bytes.push(b',');
                write_entry(&mut bytes, name, child);
            }
        }
    }
    bytes.push(b'}');
    Ok(Draft { bytes, revision_at, attributes: attributes(row, value) })
}

fn write_metadata(bytes: &mut Vec<u8>, meta: &Map<String, Value>, revision_at: &mut usize) {
    let mut first = true;
    let mut written = false;
    let version = |bytes: &mut Vec<u8>, first: &mut bool| {
        if !std::mem::replace(first, false) {
            bytes.push(b',');
        }
        bytes.extend_from_slice(b"\"resourceVersion\":\"\"");
        bytes.len() - 1
    };
    for (name, child) in meta {
        if name == "resourceVersion" {
            continue;
        }
        if !written && name.as_str() > "resourceVersion" {
            *revision_at = version(bytes, &mut first);
            written = true;
        }
        if !std::mem::replace(&mut first, false) {
            bytes.push(b',');
        }
        write_entry(bytes, name, child);
    }
    if !written {
        *revision_at = version(bytes, &mut first);
    }
}

fn write_entry(bytes: &mut Vec<u8>, name: &str, value: &Value) {
    // writing to memory cannot fail
    let _ = serde_json::to_writer(&mut *bytes, name);
    bytes.push(b':');
    let _ = serde_json::to_writer(&mut *bytes, value);
}

/// What the server looks at in an object of the stored row `kind`.
pub fn attributes(kind: &Kind, value: &Value) -> Attributes {
    let meta = value.meta();
    let labels = meta.and_then(|m| m.get("labels")).and_then(Value::as_object);
    let owners = meta.and_then(|m| m.get("ownerReferences")).and_then(Value::as_array);
    let mut fields: Vec<(Arc<str>, Arc<str>)> = kind.selectable.iter().map(|field| (field.path.into(), (field.value)(value).into())).collect();
    fields.sort();
    Attributes {
        uid: value.uid().into(),
        labels: labels.into_iter().flatten().map(|(k, v)| (k.as_str().into(), v.as_str().unwrap_or("").into())).collect(),
        fields: fields.into(),
        owners: owners.into_iter().flatten().filter_map(|owner| owner["uid"].as_str()).map(Into::into).collect(),
        deleting: value.is_deleting(),
    }
}

/// For the store: attributes from bytes, after a restart.
pub fn indexer() -> skiff_storage::Indexer {
    Arc::new(|key: &Key, bytes: &[u8]| match (kinds::stored(&key.resource), serde_json::from_slice::<Value>(bytes)) {
        (Some(kind), Ok(value)) => attributes(kind, &value),
        _ => Attributes::default(),
    })
}
