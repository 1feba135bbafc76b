//! Between the values that verbs work on and the bytes that the store keeps.
//!
//! Invariant: stored bytes are what a client is sent: they begin with `{"kind":"…","apiVersion":"…",`, fields are in the order of the type, and
//! `metadata.resourceVersion` is the revision.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::machinery::quote::{GoQuoted, go_quote};
use skiff_api::machinery::read::Read;
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::{
        meta::Meta, names::is_path_segment_name, schema::to_draft, selector::Labels, status::Status,
    },
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
    Key {
        resource: resource_of(kind),
        namespace: if kind.namespaced {
            namespace.into()
        } else {
            "".into()
        },
        name: name.into(),
    }
}

/// The key of an object that a request names.
///
/// # Errors
/// Nothing can be kept under the name. Follows `NamespaceKeyFunc` of `staging/src/k8s.io/apiserver/pkg/registry/generic/registry/store.go`.
pub fn named(kind: &Kind, namespace: &str, name: &str) -> Result<Key, Status> {
    if name.is_empty() {
        return Err(Status::bad_request("Name parameter required."));
    }
    let wrong = is_path_segment_name(name);
    match wrong.is_empty() {
        true => Ok(key_of(kind, namespace, name)),
        false => Err(Status::bad_request(format!(
            "Name parameter invalid: {}: {}",
            go_quote(name),
            wrong.join(";")
        ))),
    }
}

/// Where upstream keeps some resources in etcd, if not under their names; its messages tell of these places.
const ETCD_PLACES: &[(&str, &str)] = &[
    ("replicationcontrollers", "controllers"),
    ("endpoints", "services/endpoints"),
    ("nodes", "minions"),
    ("services", "services/specs"),
    ("ingresses.networking.k8s.io", "ingress"),
    (
        "customresourcedefinitions.apiextensions.k8s.io",
        "apiextensions.k8s.io/customresourcedefinitions",
    ),
    (
        "apiservices.apiregistration.k8s.io",
        "apiregistration.k8s.io/apiservices",
    ),
];

/// The key under which upstream would keep an object; a dry run leaves out where the keys of all objects begin.
pub fn etcd_place(key: &Key, dry: bool) -> String {
    let known = ETCD_PLACES
        .iter()
        .find(|(resource, _)| *resource == &*key.resource);
    let (plural, group) = key.resource.split_once('.').unwrap_or((&key.resource, ""));
    // what was brought along stands under its group
    let resource = match known {
        Some((_, place)) => (*place).to_string(),
        None if Registry::builtin().stored(&key.resource).is_some() => plural.to_string(),
        None => format!("{group}/{plural}"),
    };
    let begin = if dry { "" } else { "/registry" };
    if key.namespace.is_empty() {
        format!("{begin}/{resource}/{}", key.name)
    } else {
        format!("{begin}/{resource}/{}/{}", key.namespace, key.name)
    }
}

/// The labels of a stored object, which are read without it.
pub struct LabelsOf<'a>(pub &'a Attributes);

impl Labels for LabelsOf<'_> {
    fn label(&self, key: &str) -> Option<&str> {
        self.0.label(key)
    }
}

/// What a client is sent of the object are its bytes.
pub fn is_shown_as_stored(kind: &Kind, object: &Object) -> bool {
    kind.shows_as_stored(object.revision) && object.sealed().is_none()
}

/// What a list is answered with that holds an object which could not be decrypted.
pub fn sealed_in_list(object: &Object) -> Result<(), Status> {
    object.sealed().map_or(Ok(()), |why| {
        let place = etcd_place(&object.key, false);
        let said = format!(
            "unable to transform key {place}: {why}",
            place = GoQuoted(&place)
        );
        Err(Status::internal(said))
    })
}

/// The object as it is stored.
pub fn value(object: &Object) -> Result<Value, Status> {
    if let Some(why) = object.sealed() {
        return Err(Status::internal(why));
    }
    serde_json::from_slice(&object.bytes.read()).map_err(|error| unreadable(object, &error))
}

/// That an object cannot be read.
pub fn unreadable(object: &Object, why: &dyn std::error::Error) -> Status {
    Status::internal(format!("cannot read the stored {:?}: {why}", object.key))
}

/// The object is stored in the version of `kind`.
///
/// # Errors
/// It cannot be read.
pub fn is_of(kind: &Kind, object: &Object) -> Result<bool, Status> {
    // a custom object may have fields that stand before
    Ok(object.bytes.read().starts_with(type_meta(kind).as_bytes())
        || value(object)?.text("apiVersion") == kind.api_version())
}

/// The object would be stored again as it is: in the version of `row`, and by the schema that this has now.
pub fn is_current(row: &Kind, object: &Object) -> Result<bool, Status> {
    let Some(definition) = row.definition() else {
        return Ok(true);
    };
    if !is_of(row, object)? {
        return Ok(false);
    }
    if row.shows_as_stored(object.revision) {
        return Ok(true);
    }
    let stored = value(object)?;
    let mut shaped = stored.clone();
    definition
        .reshape(&mut shaped)
        .map_err(|why| Status::internal_plain(why.0))?;
    Ok(shaped == stored)
}

/// The object as `kind` shows it; of a kind whose versions a webhook converts it is in that version already.
pub fn decoded(kind: &Kind, object: &Object) -> Result<Value, Status> {
    let mut value = value(object)?;
    if !kind.shows_as_stored(object.revision) {
        kind.show(&mut value).map_err(|why| {
            Status::internal(format!("cannot read the stored {:?}: {why}", object.key))
        })?;
    }
    Ok(value)
}

/// How the bytes of objects of a kind begin: as Go writes its structs, or maps.
fn type_meta(kind: &Kind) -> String {
    let (version, kind, untyped) = (kind.api_version(), kind.kind, kind.flags.untyped);
    match untyped {
        false => format!(r#"{{"kind":"{kind}","apiVersion":"{version}","#),
        true => format!(r#"{{"apiVersion":"{version}","kind":"{kind}","#),
    }
}

/// How much of the bytes of an object in a list is left out: what they begin with, after the brace.
pub fn type_meta_len(kind: &Kind) -> usize {
    type_meta(kind).len() - 1
}

/// Makes the draft of a value of `kind`. The resourceVersion that the value bears is left out; the writer puts its own.
pub fn draft(kinds: &Registry, kind: &Arc<Kind>, value: &Value) -> Result<Draft, Status> {
    let row = kinds.stored_row(kind);
    if !value.is_object() {
        return Err(Status::internal("an object is no JSON object"));
    }
    let (api_version, name) = (row.api_version(), row.kind);
    let converted;
    let value = if kind.stored_as.is_some()
        || value.at("apiVersion") != api_version.as_str()
        || value.at("kind") != name
    {
        let mut other = value.clone();
        kind.convert(&mut other, row)
            .map_err(|why| Status::internal_plain(why.0))?;
        other["apiVersion"] = api_version.into();
        other["kind"] = name.into();
        converted = other;
        &converted
    } else {
        value
    };
    if value.meta().is_none() {
        return Err(Status::internal("metadata is no object"));
    }
    let (bytes, revision_at) = to_draft(value, row.node());
    Ok(Draft {
        bytes,
        revision_at,
        attributes: attributes(row, value),
    })
}

/// What the server looks at in an object of the stored row `kind`.
pub fn attributes(kind: &Kind, value: &Value) -> Attributes {
    let meta = value.meta();
    let labels = meta
        .and_then(|m| m.get("labels"))
        .and_then(Value::as_object);
    let labels = labels
        .into_iter()
        .flatten()
        .map(|(key, text)| (key.as_str(), text.as_str().unwrap_or("")));
    let fields = kind
        .indexed()
        .iter()
        .map(|field| (field.path, field.value(value)))
        .filter(|(_, value)| !value.is_empty());
    Attributes::new(value.is_deleting(), value.uid(), labels, fields)
}

/// For the store: attributes from bytes, after a restart.
pub fn indexer() -> skiff_storage::Indexer {
    Arc::new(|key: &Key, bytes: &[u8]| {
        let Some(kind) = Registry::builtin().stored(&key.resource) else {
            return Attributes::default();
        };
        match serde_json::from_slice::<Value>(bytes) {
            Ok(value) => attributes(kind, &value),
            Err(error) => {
                tracing::error!(%error, ?key, "a stored object cannot be read: reads of it will fail");
                Attributes::unreadable()
            }
        }
    })
}
