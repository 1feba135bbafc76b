//! ValidatingAdmissionWebhook: webhooks that may refuse a write, all at once.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/validating/dispatcher.go`.

use std::{sync::Arc, time::Instant};

use async_trait::async_trait;
use skiff_api::machinery::status::Status;

use super::{
    call::call,
    concerns, conditions_hold,
    configurations::Configurations,
    hook::Hook,
    meant,
    tally::{Asked, Tally},
};
use crate::{
    admission::{
        plugin::{Attributes, Plugin},
        view::{View, Views},
    },
    spent,
};

const NAME: &str = "ValidatingAdmissionWebhook";

pub struct ValidatingAdmissionWebhook {
    pub configurations: Arc<Configurations>,
    pub tally: Arc<Tally>,
}

#[async_trait]
impl Plugin for ValidatingAdmissionWebhook {
    fn name(&self) -> &'static str {
        NAME
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        concerns(&self.configurations, attributes)
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let hooks = self.configurations.hooks()?;
        let (mut views, mut relevant) = (Views::default(), Vec::new());
        for hook in &*hooks {
            let Some(kind) = meant(hook, attributes)? else {
                continue;
            };
            let place = views.of(attributes, &kind).await?;
            if conditions_hold(hook, attributes, &views[place])? {
                relevant.push((hook, place));
            }
        }
        let asked = relevant
            .into_iter()
            .enumerate()
            .map(|(at, (hook, place))| one(hook, at, attributes, &views[place], &self.tally));
        // all are waited for; the first of those that refuse is told
        let began = Instant::now();
        let said = futures::future::join_all(asked).await;
        spent::waited(began.elapsed());
        said.into_iter().collect()
    }
}

/// `at` is where the webhook stands among those that are asked, as the audit log names it.
async fn one(
    hook: &Hook,
    at: usize,
    attributes: &Attributes<'_>,
    view: &View,
    tally: &Tally,
) -> Result<(), Status> {
    let (began, operation) = (Instant::now(), attributes.operation);
    let said = call(hook, attributes, view, false).await;
    let asked = Asked {
        mutating: false,
        operation,
    };
    tally.asked(hook, asked, said.as_ref().err(), began.elapsed());
    match said {
        Ok(_) => Ok(()),
        Err(why) => {
            hook.failed(why)?;
            let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{at}");
            attributes.trail.note(&key, hook.name.as_str());
            Ok(())
        }
    }
}
