//! What a mutating webhook changes.
//!
//! Follows `callAttrMutatingHook` of `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`.

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{gojson, patch::json::JsonPatch, status::Status};

use super::{
    failure::{CallError, Failure},
    hook::Hook,
    review::Verdict,
};
use crate::admission::{
    plugin::Attributes,
    view::{self, View},
};

/// Changes the object as a verdict says, in its own form and as it is shown; tells whether it is another one now.
pub async fn apply(
    hook: &Hook,
    attributes: &mut Attributes<'_>,
    view: &mut View,
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
    let Some(object) = &view.object else {
        let why = format!(
            "admission webhook {} attempted to modify the object, which is not supported for this operation",
            GoQuoted(&hook.name)
        );
        return Err(Failure::Internal(Status::internal(why)));
    };
    if verdict.patch_type != "JSONPatch" {
        return Err(CallError::PatchType(verdict.patch_type.clone()).into());
    }
    let mut patched = object.clone();
    patch
        .apply(&mut patched)
        .map_err(|why| Failure::Internal(Status::internal(why)))?;
    let patched = view::read(attributes, view, patched)
        .await
        .map_err(Failure::Internal)?;
    let changed = patched.as_read != *object;
    view.object = Some(patched.shown);
    attributes.object = Some(patched.own);
    Ok(changed)
}
