//! MutatingAdmissionWebhook: webhooks that may change what is written, one after another.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use serde_json::{Value, json};
use skiff_api::machinery::{schema::to_ordered_json, status::Status};

use super::{
    call::call,
    concerns, conditions_hold,
    configurations::Configurations,
    hook::Hook,
    meant, patch,
    review::Verdict,
    tally::{Asked, Tally},
};
use crate::{
    admission::{
        plugin::{Attributes, Plugin},
        view::{View, Views},
    },
    audit::Level,
    spent,
};

const NAME: &str = "MutatingAdmissionWebhook";

pub struct MutatingAdmissionWebhook {
    pub configurations: Arc<Configurations>,
    pub tally: Arc<Tally>,
}

#[async_trait]
impl Plugin for MutatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        concerns(&self.configurations, attributes)
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let hooks = self.configurations.hooks()?;
        let again = attributes.rounds.is_again();
        let object = attributes.object.as_ref();
        attributes.rounds.of(NAME).begin(again, object);
        let mut views = Views::default();
        for (index, hook) in hooks.iter().enumerate() {
            let Some(kind) = meant(hook, attributes)? else {
                continue;
            };
            // who was not asked in the first round is not asked in the second
            if again && !attributes.rounds.of(NAME).is_due(&hook.uid) {
                continue;
            }
            let place = views.of(attributes, &kind).await?;
            if !conditions_hold(hook, attributes, &views[place])? {
                continue;
            }
            let noted = format!("round_{}_index_{index}", u8::from(again));
            let changed = one(hook, &noted, attributes, &mut views[place], &self.tally).await?;
            if changed {
                views.keep_only(&kind);
                attributes.rounds.of(NAME).changed();
                attributes.rounds.want_another();
            }
            if hook.wants_another_round {
                attributes.rounds.of(NAME).asked(&hook.uid);
            }
        }
        let object = attributes.object.as_ref();
        attributes.rounds.of(NAME).end(object);
        Ok(())
    }
}

/// Asks one webhook, and changes the object as it says; tells whether it is another one now. `place` is where the webhook stands among all, as the
/// audit log names it.
async fn one(
    hook: &Hook,
    place: &str,
    attributes: &mut Attributes<'_>,
    view: &mut View,
    tally: &Tally,
) -> Result<bool, Status> {
    let (began, operation) = (Instant::now(), attributes.operation);
    let patched = match call(hook, attributes, view, true).await {
        Ok(verdict) => {
            let applied = patch::apply(hook, attributes, view, &verdict).await;
            if applied.is_ok() {
                note_patch(hook, place, attributes, &verdict);
            }
            applied
        }
        Err(why) => Err(why),
    };
    let (asked, took) = (
        Asked {
            mutating: true,
            operation,
        },
        began.elapsed(),
    );
    tally.asked(hook, asked, patched.as_ref().err(), took);
    spent::waited(took);
    let changed = *patched.as_ref().unwrap_or(&false);
    let key = format!("mutation.webhook.admission.k8s.io/{place}");
    let said =
        json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": changed});
    attributes
        .trail
        .note_at(Level::Metadata, &key, || in_order(&said));
    match patched {
        Ok(changed) => Ok(changed),
        Err(why) => {
            hook.failed(why)?;
            let key = format!("failed-open.mutation.webhook.admission.k8s.io/{place}");
            attributes.trail.note(&key, hook.name.as_str());
            Ok(false)
        }
    }
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
