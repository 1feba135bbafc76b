//! MutatingAdmissionWebhook: webhooks that may change what is written, one after another.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/mutating/dispatcher.go`.

use std::sync::Arc;

use async_trait::async_trait;
use skiff_api::machinery::status::Status;

use super::{
    call::call, concerns, conditions_hold, configurations::Configurations, hook::Hook, meant, patch,
};
use crate::admission::{
    plugin::{Attributes, Plugin},
    view::{View, Views},
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
        let mut views = Views::default();
        for hook in &*hooks {
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
            let changed = one(hook, attributes, &mut views[place]).await?;
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

/// Asks one webhook, and changes the object as it says; tells whether it is another one now.
async fn one(
    hook: &Hook,
    attributes: &mut Attributes<'_>,
    view: &mut View,
) -> Result<bool, Status> {
    let changed = match call(hook, attributes, view, true).await {
        Ok(verdict) => patch::apply(hook, attributes, view, &verdict).await,
        Err(why) => Err(why),
    };
    changed.or_else(|why| hook.failed(why).map(|()| false))
}
