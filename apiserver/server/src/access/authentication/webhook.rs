//! A webhook that is asked whose tokens are whose.
//!
//! Invariant: a token that it says is for other audiences is nobody's, and who cannot be asked authenticates nobody. An answer is remembered with the
//! audiences that were asked for; what went wrong is not. Follows
//! `staging/src/k8s.io/apiserver/plugin/pkg/authenticator/token/webhook/webhook.go` and `pkg/authentication/token/cache`.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    read::Read,
    schema::{Node, Schema},
};

use super::{Error, Surroundings};
use crate::{
    access::{cache::Cache, client::Client, kubeconfig, retry},
    auth::{
        Unauthorized, User,
        authenticate::{Holder, RemoteTokens},
    },
    webhook::{self, AnswerError, AskError},
};

const KIND: &str = "TokenReview";
const PATIENCE: Duration = Duration::from_secs(30);
const MOST_REMEMBERED: usize = 8192;

/// The flags `--authentication-token-webhook-*`.
#[derive(Clone, Debug)]
pub struct TokenWebhook {
    /// A kubeconfig.
    pub config_file: PathBuf,
    /// `v1` or `v1beta1`.
    pub version: String,
    pub cache_ttl: Duration,
}

#[derive(thiserror::Error, Debug)]
#[error(
    "unsupported authentication webhook version {}, supported versions are \"v1\", \"v1beta1\"",
    GoQuoted(.0)
)]
pub struct VersionError(String);

pub struct Webhook {
    client: Client,
    api_version: &'static str,
    ttl: Duration,
    /// The API's own audiences, which are meant by who says nothing of them.
    implicit: Vec<String>,
    known: Cache<[u8; 32], Option<Holder>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    spec: Spec<'a>,
    status: Status,
}

#[derive(Serialize, Default)]
struct Empty {}

#[derive(Serialize)]
struct Spec<'a> {
    token: &'a str,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    audiences: &'a [String],
}

#[derive(Serialize, Default)]
struct Status {
    user: Empty,
}

/// Why there is no answer that could be used.
#[derive(thiserror::Error, Debug)]
enum Unanswered {
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

fn node() -> Node<'static> {
    Schema::builtin()
        .get("authentication.v1.TokenReview")
        .unwrap_or_else(|| panic!("TokenReview is not in the schema table"))
}

impl Webhook {
    /// # Errors
    /// The kubeconfig is not right, or the version is none.
    pub fn new(options: &TokenWebhook, here: &Surroundings) -> Result<Webhook, Error> {
        let api_version = match options.version.as_str() {
            "v1" => "authentication.k8s.io/v1",
            "v1beta1" => "authentication.k8s.io/v1beta1",
            other => return Err(VersionError(other.into()).into()),
        };
        Ok(Webhook {
            client: kubeconfig::client(&options.config_file, here.behind.clone())
                .map_err(Error::Webhook)?,
            api_version,
            ttl: options.cache_ttl,
            implicit: here.audiences.clone(),
            known: Cache::new(MOST_REMEMBERED),
        })
    }

    async fn ask(&self, token: &str, audiences: &[String]) -> Result<Value, Unanswered> {
        let review = Review {
            kind: KIND,
            api_version: self.api_version,
            metadata: Empty {},
            spec: Spec { token, audiences },
            status: Status::default(),
        };
        let question = Bytes::from(serde_json::to_vec(&review)?);
        let document = retry::post(&self.client, &question, PATIENCE).await?;
        let answer = webhook::decoded(&document, KIND, &[self.api_version], node())?;
        Ok(answer)
    }
}

#[async_trait]
impl RemoteTokens for Webhook {
    async fn holder(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Holder>, Unauthorized> {
        let key = key(token, audiences);
        if let Some(known) = self.known.get(&key) {
            return Ok(known);
        }
        let answer = self.ask(token, audiences).await.map_err(|why| {
            tracing::error!("Failed to make webhook authenticator request: {why}");
            Unauthorized(why.to_string())
        })?;
        let status = answer.at("status");
        let said: Vec<String> = match status.list("audiences") {
            [] => self.implicit.clone(),
            _ => status.texts("audiences").map(Into::into).collect(),
        };
        let shared: Vec<String> = audiences
            .iter()
            .filter(|one| said.contains(one))
            .cloned()
            .collect();
        let unknown = !status.flag("authenticated");
        if !audiences.is_empty() && shared.is_empty() || unknown && status.text("error").is_empty()
        {
            self.known.put(key, None, self.ttl);
            return Ok(None);
        }
        if unknown {
            return Err(status.text("error").into());
        }
        let user = Option::<User>::deserialize(status.at("user"));
        let user = user.map_err(|why| Unauthorized(why.to_string()))?;
        let holder = Holder {
            user: user.unwrap_or_default(),
            audiences: shared,
            warnings: Vec::new(),
        };
        self.known.put(key, Some(holder.clone()), self.ttl);
        Ok(Some(holder))
    }
}

/// Tokens are not kept. Lengths stand before texts, so that no two questions are taken for one.
fn key(token: &str, audiences: &[String]) -> [u8; 32] {
    let mut hash = Sha256::new();
    let parts = std::iter::once(token).chain(audiences.iter().map(String::as_str));
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}
