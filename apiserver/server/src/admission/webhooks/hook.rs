//! A webhook of a configuration, read once: which writes it is about, how it is asked, and what follows when it cannot be.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/accessors.go`.

use std::time::Duration;

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    cel::admission::Compiler, meta::Meta, read::Read, selector::SelectorError, status::Status,
};

use super::failure::Failure;
use crate::{
    admission::{expressions::Conditions, matching::Criteria},
    dial::Behind,
    webhook::{Client, ClientError, Version},
};

/// What is waited for at the most, where a configuration does not say.
const PATIENCE: i64 = 10;

pub struct Hook {
    pub configuration: String,
    pub name: String,
    /// What tells it from all others.
    pub uid: String,
    pub criteria: Result<Criteria, SelectorError>,
    pub conditions: Conditions,
    /// A failure to ask it is passed over.
    pub ignores_failures: bool,
    /// It is asked again when the object changed after it.
    pub wants_another_round: bool,
    /// Empty where the configuration does not say, which validation rules out.
    pub side_effects: String,
    pub patience: Duration,
    /// `None`: it reads no version that the server knows.
    pub version: Option<Version>,
    pub client: Result<Client, ClientError>,
}

impl Hook {
    fn new(configuration: &str, hook: &Value, index: usize, behind: Option<&Behind>) -> Hook {
        let name = hook.text("name");
        let seconds = hook.int_ptr("timeoutSeconds").unwrap_or(PATIENCE);
        Hook {
            configuration: configuration.into(),
            name: name.into(),
            uid: format!("{configuration}/{name}/{index}"),
            criteria: Criteria::of_webhook(hook),
            conditions: Conditions::read(hook, &Compiler::new(false)),
            ignores_failures: hook.text("failurePolicy") == "Ignore",
            wants_another_round: hook.text("reinvocationPolicy") == "IfNeeded",
            side_effects: hook.text("sideEffects").into(),
            patience: Duration::from_secs(seconds.unsigned_abs()),
            version: Version::first_of(hook.texts("admissionReviewVersions")),
            client: Client::new(hook.at("clientConfig"), behind.cloned()),
        }
    }

    /// What follows when it refuses, or cannot be asked: the write is refused, or goes on, which whoever runs the server is told.
    pub fn failed(&self, failure: Failure) -> Result<(), Status> {
        let why = match failure {
            Failure::Refused(status) | Failure::Internal(status) => return Err(status),
            Failure::Calling(why) => why,
        };
        let (configuration, name) = (&self.configuration, &self.name);
        if self.ignores_failures {
            tracing::warn!("Failed calling webhook, failing open {name} of {configuration}: {why}");
            return Ok(());
        }
        Err(Status::internal(format!(
            "failed calling webhook {name}: {why}",
            name = GoQuoted(&name)
        )))
    }

    /// It may be asked about what is only tried.
    pub fn allows_dry_run(&self) -> bool {
        matches!(self.side_effects.as_str(), "None" | "NoneOnDryRun")
    }
}

/// The webhooks of a configuration, in its order.
pub fn all_of(configuration: &Value, behind: Option<&Behind>) -> Vec<Hook> {
    let hooks = configuration.list("webhooks").iter().enumerate();
    hooks
        .map(|(index, hook)| Hook::new(configuration.name(), hook, index, behind))
        .collect()
}
