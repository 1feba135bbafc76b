//! What a mutating webhook changes.
//!
//! Invariant: what it makes of an object is read like what a client sends, with defaults, before anybody sees it.
//! Follows `callAttrMutatingHook` of `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`.

use serde_json::Value;
use skiff_api::{
    kinds::api_version,
    machinery::{
        gojson, managed_fields,
        meta::Meta,
        patch::json::JsonPatch,
        read::Read,
        schema::{self, as_stored},
        status::Status,
    },
};

use super::{
    Shown,
    failure::{CallError, Failure},
    hook::Hook,
    review::Verdict,
};
use crate::admission::plugin::Attributes;

/// Changes the object as a verdict says, in its own form and as it is shown; tells whether it is another one now.
pub fn apply(
    hook: &Hook,
    attributes: &mut Attributes<'_>,
    shown: &mut Shown,
    verdict: &Verdict,
) -> Result<bool, Failure> {
    if verdict.patch.is_empty() {
        return Ok(false);
    }
    let document: Value = serde_json::from_slice(&verdict.patch).map_err(|error| {
        let said = gojson::syntax_error(&verdict.patch);
        CallError::Patch(said.unwrap_or_else(|| error.to_string()))
    })?;
    let patch = JsonPatch::decode(&document, false).map_err(CallError::from)?;
    if document.as_array().is_none_or(Vec::is_empty) {
        return Ok(false);
    }
    let Some(object) = &shown.object else {
        let why = format!(
            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
            hook.name
        );
        return Err(Failure::Refused(Status::internal(why)));
    };
    if verdict.patch_type != "JSONPatch" {
        return Err(CallError::PatchType(verdict.patch_type.clone()).into());
    }
    let mut patched = object.clone();
    patch
        .apply(&mut patched)
        .map_err(|why| Failure::Refused(Status::internal(why)))?;
    let patched = read(attributes, shown, patched).map_err(Failure::Refused)?;
    let changed = patched.as_read != *object;
    shown.object = Some(patched.shown);
    attributes.object = Some(patched.own);
    Ok(changed)
}

/// An object as it was patched.
pub struct Patched {
    /// Without defaults.
    pub as_read: Value,
    pub shown: Value,
    /// In the form that the write is worked on in.
    pub own: Value,
}

/// Reads what somebody made of an object.
///
/// # Errors
/// It is none of its kind any more.
pub fn read(
    attributes: &Attributes<'_>,
    shown: &Shown,
    mut value: Value,
) -> Result<Patched, Status> {
    let kind = &shown.kind;
    let (group, version, name) = attributes.kind_of_object(kind);
    let same =
        value.text("kind") == name && value.text("apiVersion") == api_version(group, version);
    if !same {
        let said = value.text("apiVersion");
        let said_version = said.rsplit('/').next().unwrap_or("");
        return Err(Status::internal_plain(format!(
            "converting ({said_version}.{}) to ({version}.{name}): unknown conversion",
            value.text("kind")
        )));
    }
    let own = attributes.has_own_kind(kind);
    let node = attributes.node_of_object(kind);
    match node {
        Some(node) if own => schema::conform(&mut value, node)
            .map(drop)
            .map_err(Status::internal)?,
        Some(_) => kind
            .conform(&mut value)
            .map(drop)
            .map_err(Status::internal)?,
        None => {}
    }
    keep_managers(attributes, shown, &mut value);
    let stored = |value: &Value| {
        let mut stored = value.clone();
        if let Some(node) = node {
            as_stored(&mut stored, node);
        }
        stored
    };
    let as_read = stored(&value);
    if own {
        return Ok(Patched {
            shown: as_read.clone(),
            as_read,
            own: value,
        });
    }
    kind.defaults(&mut value);
    let shown = stored(&value);
    kind.convert(&mut value, attributes.kind)
        .map_err(|why| Status::internal_plain(why.0))?;
    Ok(Patched {
        as_read,
        shown,
        own: value,
    })
}

/// Managers that cannot be read any more are those that there were.
fn keep_managers(attributes: &Attributes<'_>, shown: &Shown, value: &mut Value) {
    let before = shown.object.as_ref().unwrap_or(&Value::Null);
    let managers = |object: &Value| object.at("metadata").some("managedFields").cloned();
    let (had, has) = (managers(before), managers(value));
    if had == has {
        return;
    }
    if let Err(why) = managed_fields::check(has.as_ref()) {
        match had {
            Some(had) => drop(value.meta_mut().insert("managedFields".into(), had)),
            None => drop(value.meta_mut().remove("managedFields")),
        }
        attributes.warn(format!(
            ".metadata.managedFields was in an invalid state after admission; this could be caused by an outdated mutating admission controller; please fix your requests: {why}"
        ));
    }
}
