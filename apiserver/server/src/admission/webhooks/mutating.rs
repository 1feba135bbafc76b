//! MutatingAdmissionWebhook: webhooks that may change what is written, one after another.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{schema::to_ordered_json, status::Status},
};

use super::{
    Shown,
    call::call,
    concerns, conditions_hold,
    configurations::Configurations,
    failure::{Failure, failed},
    hook::Hook,
    meant, patch,
    review::Verdict,
};
use crate::{
    admission::plugin::{Attributes, Plugin},
    audit::Level,
};

const NAME: &str = "MutatingAdmissionWebhook";

pub struct MutatingAdmissionWebhook(pub Arc<Configurations>);

#[async_trait]
impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        concerns(&self.0, attributes)
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let hooks = self.0.hooks()?;
        let again = attributes.rounds.is_again();
        let object = attributes.object.as_ref();
        attributes.rounds.of(NAME).begin(again, object);
        let mut shown = None;
        for (index, hook) in hooks.iter().enumerate() {
            let Some(kind) = meant(hook, attributes)? else {
                continue;
            };
            if !conditions_hold(hook, attributes, at(&mut shown, attributes, &kind)?)? {
                continue;
            }
            // who was not asked in the first round is not asked in the second
            if again && !attributes.rounds.of(NAME).is_due(&hook.uid) {
                continue;
            }
            let place = format!("round_{}_index_{index}", u8::from(again));
            one(hook, &place, attributes, &kind, &mut shown).await?;
        }
        let object = attributes.object.as_ref();
        attributes.rounds.of(NAME).end(object);
        Ok(())
    }
}

/// The write as this version shows it, which is the last one's where that asked for the same.
fn at<'s>(
    shown: &'s mut Option<Shown>,
    attributes: &Attributes<'_>,
    kind: &Arc<Kind>,
) -> Result<&'s mut Shown, Status> {
    Ok(match shown.take() {
        Some(same) if Arc::ptr_eq(&same.kind, kind) => shown.insert(same),
        _ => shown.insert(Shown::of(attributes, kind)?),
    })
}

/// Asks one webhook, and changes the object as it says. `shown` is the write as the last one saw it; `place` is where the webhook stands among all, as
/// the audit log names it.
async fn one(
    hook: &Hook,
    place: &str,
    attributes: &mut Attributes<'_>,
    kind: &Arc<Kind>,
    shown: &mut Option<Shown>,
) -> Result<(), Status> {
    let shown = at(shown, attributes, kind)?;
    let asked = call(hook, attributes, shown, true).await;
    let patched = asked.and_then(|verdict| {
        let changed = patch::apply(hook, attributes, shown, &verdict)?;
        note_patch(hook, place, attributes, &verdict);
        Ok(changed)
    });
    let changed = *patched.as_ref().unwrap_or(&false);
    let key = format!("mutation.webhook.admission.k8s.io/{place}");
    let said =
        json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed});
    attributes
        .trail
        .note_at(Level::Metadata, &key, || in_order(&said));
    let changed = match patched {
        Ok(changed) => Ok(changed),
        Err(Failure::Refused(status)) => Err(status),
        Err(Failure::Calling(why)) if hook.ignores_failures => {
            hook.passed_over(&why);
            let key = format!("failed-open.mutation.webhook.admission.k8s.io/{place}");
            attributes.trail.note(&key, hook.name.as_str());
            Ok(false)
        }
        Err(Failure::Calling(why)) => Err(failed(&hook.name, &why)),
    }?;
    let rounds = &mut attributes.rounds;
    if changed {
        rounds.of(NAME).changed();
        rounds.want_another();
    }
    if hook.wants_another_round {
        rounds.of(NAME).asked(&hook.uid);
    }
    Ok(())
}

/// What a webhook changed, for audit logs that hold what was sent.
fn note_patch(hook: &Hook, place: &str, attributes: &Attributes<'_>, verdict: &Verdict) {
    if !attributes.trail.wants(Level::Request) {
        return;
    }
    let Ok(Value::Array(patch)) = serde_json::from_slice(&verdict.patch) else {
        // there is none: one that cannot be read has failed
        return;
    };
    if !patch.is_empty() {
        let key = format!("patch.webhook.admission.k8s.io/{place}");
        let said = json!({"configuration": hook.configuration, "webhook": hook.name, "patch": patch, "patchType": "JSONPatch"});
        attributes
            .trail
            .note_at(Level::Request, &key, || in_order(&said));
    }
}

fn in_order(said: &Value) -> String {
    const ORDER: [&str; 5] = ["configuration", "webhook", "mutated", "patch", "patchType"];
    String::from_utf8_lossy(&to_ordered_json(said, &ORDER, false)).into_owned()
}
