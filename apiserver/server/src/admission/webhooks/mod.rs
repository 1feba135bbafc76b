//! MutatingAdmissionWebhook and ValidatingAdmissionWebhook: others are asked before an object is written, as configurations say.
//!
//! Invariant: a webhook sees an object at the version that it asked for; mutating ones are asked one after another, each sees what those before it
//! made; validating ones are asked all at once. What cannot be asked refuses, unless its failure policy says otherwise. Without configurations a
//! write costs one load more.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/{generic,mutating,validating}`.
//!
//! `configurations` keeps what is stored, read once; `hook` is one webhook; `review` is the question and the answer; `call` asks; `patch` changes the
//! object; `failure` is why a write is not made; `tally` counts.

mod call;
mod configurations;
mod failure;
mod hook;
mod mutating;
mod patch;
mod review;
mod tally;
mod validating;

use std::sync::Arc;

use skiff_api::{kinds::Kind, machinery::status::Status};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

pub use self::tally::Tally;
use self::{configurations::Configurations, hook::Hook};
use super::{
    expressions::{Asker, Input},
    matching,
    plugin::{Attributes, Plugin},
    view::View,
};
use crate::{core::Core, dial::Behind};

const MUTATING: &str = "mutatingwebhookconfigurations.admissionregistration.k8s.io";
const VALIDATING: &str = "validatingwebhookconfigurations.admissionregistration.k8s.io";

/// The configurations of both kinds. Nobody is asked before they are followed: what a server makes of itself when it starts is asked of nobody.
#[derive(Default, Clone)]
pub struct Webhooks {
    mutating: Arc<Configurations>,
    validating: Arc<Configurations>,
    pub tally: Arc<Tally>,
}

impl Webhooks {
    /// Reads what is stored, and follows it until the server stops. Webhooks are reached by the interface that services are `behind`.
    /// Answers the tasks that do it.
    pub fn follow(
        &self,
        core: &Arc<Core>,
        behind: Option<&Behind>,
        stopping: &CancellationToken,
    ) -> [AbortHandle; 2] {
        [(MUTATING, &self.mutating), (VALIDATING, &self.validating)].map(
            |(resource, configurations)| {
                configurations::follow(
                    core,
                    resource,
                    configurations.clone(),
                    behind.cloned(),
                    stopping.clone(),
                )
            },
        )
    }

    pub fn mutating_plugin(&self) -> Box<dyn Plugin> {
        Box::new(mutating::MutatingAdmissionWebhook {
            configurations: self.mutating.clone(),
            tally: self.tally.clone(),
        })
    }

    pub fn validating_plugin(&self) -> Box<dyn Plugin> {
        Box::new(validating::ValidatingAdmissionWebhook {
            configurations: self.validating.clone(),
            tally: self.tally.clone(),
        })
    }
}

/// Whether anybody is asked about such a write.
fn concerns(configurations: &Configurations, attributes: &Attributes<'_>) -> bool {
    configurations.any() && !matching::is_exempt(attributes.asked)
}

/// The version by which a webhook means a write; `None`: it is not to be asked.
fn meant(hook: &Hook, attributes: &Attributes<'_>) -> Result<Option<Arc<Kind>>, Status> {
    let criteria = hook.criteria.as_ref().map_err(Status::internal)?;
    criteria.matches(attributes)
}

/// Whether all conditions of a webhook hold for a write that it means.
fn conditions_hold(hook: &Hook, attributes: &Attributes<'_>, view: &View) -> Result<bool, Status> {
    if hook.conditions.is_empty() {
        return Ok(true);
    }
    let asker = Asker::of(attributes);
    let input = Input {
        object: view.object.as_ref(),
        old: view.old.as_ref(),
        request: view.request(attributes),
        namespace: None,
        params: None,
        asker: Some(&asker),
    };
    match hook.conditions.hold(&input.activation()) {
        Ok(hold) => Ok(hold),
        Err(_) if hook.ignores_failures => Ok(false),
        Err(why) => {
            let (group, plural) = (attributes.asked.group, attributes.asked.plural);
            Err(Status::forbidden(group, plural, attributes.name, &why.0))
        }
    }
}
