//! MutatingAdmissionWebhook: webhooks that may change what is written, one after another.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`.

use std::sync::Arc;

use async_trait::async_trait;
use skiff_api::{kinds::Kind, machinery::status::Status};

use super::{
    Shown,
    call::call,
    concerns, conditions_hold,
    configurations::Configurations,
    failure::{Failure, failed},
    hook::Hook,
    meant, patch,
};
use crate::admission::plugin::{Attributes, Plugin};

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
        for hook in &*hooks {
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
            one(hook, attributes, &kind, &mut shown).await?;
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

/// Asks one webhook, and changes the object as it says. `shown` is the write as the last one saw it.
async fn one(
    hook: &Hook,
    attributes: &mut Attributes<'_>,
    kind: &Arc<Kind>,
    shown: &mut Option<Shown>,
) -> Result<(), Status> {
    let shown = at(shown, attributes, kind)?;
    let asked = call(hook, attributes, shown, true).await;
    let changed = match asked.and_then(|verdict| patch::apply(hook, attributes, shown, &verdict)) {
        Ok(changed) => Ok(changed),
        Err(Failure::Refused(status)) => Err(status),
        Err(Failure::Calling(why)) if hook.ignores_failures => {
            hook.passed_over(&why);
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
