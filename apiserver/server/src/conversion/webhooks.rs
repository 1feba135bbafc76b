//! The webhooks of definitions: how they are reached, what they are asked, and what of their answers is believed.
//!
//! Invariant: a webhook is reached through one client as long as its definition says the same of it.
//! Follows `webhookConverter.Convert` of `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::{
    kinds::{Kind, definition::ConversionWebhook},
    machinery::{read::Read, status::Status},
};

use super::{
    failure::{ConversionError, Failure, Invalid, NoObject, Place},
    metadata, review,
};
use crate::{
    core::{Converter, Core},
    dial::Behind,
    webhook::{Client, ClientError, LONGEST_ANSWER, Version},
};

/// How long a webhook may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How much longer an answer may be than its question.
const GROWTH: usize = 8;

/// The webhooks of all definitions.
pub struct Webhooks {
    behind: Option<Behind>,
    /// By the name of the definition.
    clients: Mutex<HashMap<String, Known>>,
}

struct Known {
    /// Its `clientConfig`.
    config: Value,
    client: Result<Arc<Client>, ClientError>,
}

impl Webhooks {
    pub fn new(behind: Option<Behind>) -> Webhooks {
        Webhooks {
            behind,
            clients: Mutex::default(),
        }
    }

    fn client(&self, webhook: &ConversionWebhook) -> Result<Arc<Client>, ClientError> {
        let mut clients = self.clients.lock();
        if let Some(known) = clients.get(&webhook.definition)
            && known.config == webhook.client
        {
            return known.client.clone();
        }
        let client = Client::new(&trusting(&webhook.client), self.behind.clone()).map(Arc::new);
        let known = Known {
            config: webhook.client.clone(),
            client: client.clone(),
        };
        clients.insert(webhook.definition.clone(), known);
        client
    }

    async fn ask(
        &self,
        core: &Core,
        webhook: &ConversionWebhook,
        to: &Kind,
        objects: &[Value],
    ) -> Result<Vec<Value>, ConversionError> {
        let of = objects.first().map(told).unwrap_or_default();
        for object in objects {
            let from = object.text("apiVersion");
            if !webhook.versions.iter().any(|version| version == from) {
                return Err(ConversionError::From(from.into()));
            }
        }
        let version = Version::first_of(webhook.review_versions.iter().map(String::as_str))
            .ok_or(ConversionError::Versions)?;
        let answer = self.exchange(core, webhook, version, to, objects).await;
        let mut converted = answer.map_err(|why| ConversionError::Failed {
            of: of.clone(),
            why,
        })?;
        if converted.len() != objects.len() {
            return Err(ConversionError::Count {
                of,
                got: converted.len(),
                expected: objects.len(),
            });
        }
        let only = objects.len() == 1;
        for (at, (before, after)) in objects.iter().zip(&mut converted).enumerate() {
            let place = if only { Place::Only } else { Place::At(at) };
            check(to, before, after).map_err(|why| why.of(&of, place))?;
        }
        Ok(converted)
    }

    /// The objects of the answer, as the webhook wrote them.
    async fn exchange(
        &self,
        core: &Core,
        webhook: &ConversionWebhook,
        version: Version,
        to: &Kind,
        objects: &[Value],
    ) -> Result<Vec<Value>, Failure> {
        let uid = uuid::Uuid::new_v4().to_string();
        let question = review::question(version, &uid, &to.api_version(), objects)?;
        let longest = LONGEST_ANSWER.max(question.len().saturating_mul(GROWTH));
        let client = self.client(webhook)?;
        let answer = client.post(core, question, PATIENCE, longest).await?;
        let review = review::read(version, &answer)?;
        Ok(review::objects(version, &uid, review)?)
    }
}

#[async_trait]
impl Converter for Webhooks {
    async fn convert(
        &self,
        core: &Core,
        to: &Kind,
        objects: Vec<Value>,
    ) -> Result<Vec<Value>, Status> {
        let webhook = to
            .converter()
            .ok_or_else(|| Status::internal(format!("no webhook converts to {}", to.kind)))?;
        let converted = self.ask(core, webhook, to, &objects).await;
        converted.map_err(|why| Status::internal_plain(why.to_string()))
    }
}

/// A `clientConfig` whose authorities, where they are nothing but white space, are none.
fn trusting(config: &Value) -> Value {
    let mut config = config.clone();
    let blank = STANDARD
        .decode(config.text("caBundle"))
        .is_ok_and(|bundle| bundle.trim_ascii().is_empty());
    if let Some(config) = config.as_object_mut().filter(|_| blank) {
        config.remove("caBundle");
    }
    config
}

/// Group, version and kind as Go prints them.
fn told(object: &Value) -> String {
    format!(
        "{}, Kind={}",
        object.text("apiVersion"),
        object.text("kind")
    )
}

/// An object of an answer is what was asked for; its metadata becomes what it was.
fn check(to: &Kind, before: &Value, after: &mut Value) -> Result<(), Invalid> {
    if after.text("kind").is_empty() {
        return Err(NoObject(after.to_string()).into());
    }
    let (expected, received) = (to.api_version(), after.text("apiVersion"));
    if received != expected {
        return Err(Invalid::GroupVersion {
            expected,
            received: received.into(),
        });
    }
    let (expected, received) = (before.text("kind"), after.text("kind"));
    if received != expected {
        return Err(Invalid::Kind {
            expected: expected.into(),
            received: received.into(),
        });
    }
    metadata::same(before, after)?;
    Ok(metadata::restore(before, after)?)
}
