//! ValidatingAdmissionWebhook: webhooks that may refuse a write, all at once.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/validating/dispatcher.go`.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use async_trait::async_trait;
use skiff_api::{kinds::Kind, machinery::status::Status};

use super::{
    Shown,
    call::call,
    concerns, conditions_hold,
    configurations::Configurations,
    failure::{Failure, failed},
    hook::Hook,
    meant,
};
use crate::admission::plugin::{Attributes, Plugin};

const NAME: &str = "ValidatingAdmissionWebhook";

pub struct ValidatingAdmissionWebhook(pub Arc<Configurations>);

#[async_trait]
impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        concerns(&self.0, attributes)
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let hooks = self.0.hooks()?;
        let mut relevant: Vec<(&Arc<Hook>, Arc<Kind>)> = Vec::new();
        let mut shown: BTreeMap<String, Shown> = BTreeMap::new();
        for hook in &hooks {
            let Some(kind) = meant(hook, attributes)? else {
                continue;
            };
            let version = kind.api_version();
            let seen = match shown.entry(version) {
                Entry::Occupied(seen) => seen.into_mut(),
                Entry::Vacant(place) => place.insert(Shown::of(attributes, &kind)?),
            };
            if !conditions_hold(hook, attributes, seen)? {
                continue;
            }
            relevant.push((hook, kind));
        }
        let asked = relevant
            .iter()
            .enumerate()
            .filter_map(|(at, (hook, kind))| {
                let shown = shown.get(&kind.api_version())?;
                Some(one(hook, at, attributes, shown))
            });
        // all are waited for; the first of those that refuse is told
        futures::future::join_all(asked).await.into_iter().collect()
    }
}

async fn one(
    hook: &Hook,
    at: usize,
    attributes: &Attributes<'_>,
    shown: &Shown,
) -> Result<(), Status> {
    match call(hook, attributes, shown, false).await {
        Ok(_) => Ok(()),
        Err(Failure::Refused(status)) => Err(status),
        Err(Failure::Calling(why)) if hook.ignores_failures => {
            hook.passed_over(&why);
            let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{at}");
            attributes.trail.note(&key, hook.name.as_str());
            Ok(())
        }
        Err(Failure::Calling(why)) => Err(failed(&hook.name, &why)),
    }
}
