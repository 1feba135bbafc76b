//! One webhook asked about one write.
//!
//! Follows `callHook` and `callAttrMutatingHook` of `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/{validating,mutating}/dispatcher.go`.

use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{names, status::Status};

use super::{
    failure::{CallError, Failure},
    hook::Hook,
    review::{self, Verdict},
};
use crate::{
    admission::{plugin::Attributes, view::View},
    webhook::LONGEST_ANSWER,
};

/// What a webhook says of a write.
///
/// # Errors
/// It could not be asked, or refuses.
pub async fn call(
    hook: &Hook,
    attributes: &Attributes<'_>,
    view: &View,
    mutating: bool,
) -> Result<Verdict, Failure> {
    if attributes.dry_run && !hook.allows_dry_run() {
        return Err(match hook.side_effects.as_str() {
            "" => CallError::SideEffects.into(),
            _ => Failure::Internal(Status::bad_request(format!(
                "admission webhook {} does not support dry run",
                GoQuoted(&hook.name)
            ))),
        });
    }
    let version = hook.version.ok_or(CallError::Versions)?;
    let uid = uuid::Uuid::new_v4().to_string();
    let question = review::question(version, &uid, attributes, view)?;
    let client = hook
        .client
        .as_ref()
        .map_err(|why| CallError::Client(why.clone()))?;
    let answer = client
        .post(attributes.core, question, hook.patience, LONGEST_ANSWER)
        .await?;
    let answer = review::read(version, &answer)?;
    let verdict = review::verdict(version, &uid, mutating, &answer)?;
    note_annotations(hook, attributes, &verdict);
    for warning in &verdict.warnings {
        attributes.warn(warning.clone());
    }
    match verdict.allowed {
        true => Ok(verdict),
        false => Err(Failure::Refused(review::refusal(
            &hook.name,
            &verdict.status,
        ))),
    }
}

/// Annotations are for the audit log; those that could not stand there are told of.
fn note_annotations(hook: &Hook, attributes: &Attributes<'_>, verdict: &Verdict) {
    for (key, value) in &verdict.audit_annotations {
        let key = format!("{}/{key}", hook.name);
        let wrong = match key.matches('/').count() {
            1 => names::is_qualified_name(&key).join("; "),
            _ => "the key should contain exactly one slash".into(),
        };
        if wrong.is_empty() {
            attributes.trail.note(&key, value);
        } else {
            tracing::warn!(
                "Failed to set admission audit annotation {key} to {value} for webhook {}: {wrong}",
                hook.name
            );
        }
    }
}
