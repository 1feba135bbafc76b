//! One issuer of tokens: its keys, and whose its tokens are.
//!
//! Invariant: no token is good before the issuer's own document has told where its keys are; keys are asked for again when none of those at hand verifies a
//! token, and not more often than a bound. Follows `staging/src/k8s.io/apiserver/plugin/pkg/authenticator/token/oidc/oidc.go` (New) and
//! `vendor/github.com/coreos/go-oidc/{oidc,jwks}.go`.

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock},
    time::Duration,
};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::ClientConfig;
use serde::Deserialize;
use skiff_api::machinery::clock::SharedClock;
use skiff_api::machinery::quote::GoQuoted;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    claims::{self, ClaimError},
    config::JwtAuthenticator,
    jws::{self, Algorithm, Key, TokenError, Unverified},
    validation::Mapper,
};
use crate::{
    access::client::{Client, ClientError, Credentials},
    auth::{Unauthorized, User},
    dial::trust::{self, TrustError},
    webhook::AskError,
};

const WELL_KNOWN: &str = "/.well-known/openid-configuration";
/// How long an issuer may take to answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// When it is asked again that did not answer well.
const AGAIN: Duration = Duration::from_secs(10);
/// Keys are asked for so often, within so long.
const MOST: usize = 6;
const WITHIN: Duration = Duration::from_secs(60);

/// Why an issuer cannot be asked, or what is wrong with what it says.
#[derive(thiserror::Error, Debug)]
pub enum IssuerError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Ask(#[from] AskError),
    #[error("{code}: {body}")]
    Code { code: u16, body: String },
    #[error("oidc: failed to decode provider discovery object: {0}")]
    Discovery(serde_json::Error),
    #[error(
        "oidc: issuer did not match the issuer returned by provider, expected {wanted} got {got}",
        wanted = GoQuoted(.wanted),
        got = GoQuoted(.got)
    )]
    Other { wanted: String, got: String },
    #[error("provider did not return JWKS URL")]
    NoKeys,
    #[error("oidc: failed to decode keys: {0}")]
    Keys(serde_json::Error),
}

#[derive(Deserialize)]
struct Discovery {
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    jwks_uri: String,
}

pub struct Issuer {
    config: JwtAuthenticator,
    mapper: Mapper,
    algorithms: Arc<[Algorithm]>,
    clock: SharedClock,
    tls: ClientConfig,
    keys: OnceLock<KeySet>,
    /// Why there are no keys yet.
    failure: Mutex<Option<String>>,
}

struct KeySet {
    client: Client,
    keys: ArcSwap<Vec<Key>>,
    /// Held by who asks for them; when they were asked for.
    asked: tokio::sync::Mutex<VecDeque<Instant>>,
}

impl Issuer {
    /// # Errors
    /// Its authorities cannot be read.
    pub fn new(
        config: JwtAuthenticator,
        mapper: Mapper,
        algorithms: Arc<[Algorithm]>,
        clock: SharedClock,
    ) -> Result<Issuer, IssuerError> {
        let authority = config.issuer.certificate_authority.as_bytes();
        Ok(Issuer {
            tls: trust::client(authority)?,
            config,
            mapper,
            algorithms,
            clock,
            keys: OnceLock::new(),
            failure: Mutex::default(),
        })
    }

    pub fn url(&self) -> &str {
        &self.config.issuer.url
    }

    /// Why its tokens are not good yet; `None`: they are.
    pub fn unready(&self) -> Option<String> {
        if self.keys.get().is_some() {
            return None;
        }
        let (url, failure) = (self.url(), self.failure.lock());
        Some(match &*failure {
            Some(why) => {
                format!(
                    "oidc: authenticator for issuer {url} is not healthy: {why}",
                    url = GoQuoted(&url)
                )
            }
            None => format!(
                "oidc: authenticator for issuer {url} is not initialized",
                url = GoQuoted(&url)
            ),
        })
    }

    /// Asks until it has been told where the keys are, and asks for them then.
    pub async fn discover(self: Arc<Issuer>, stop: CancellationToken) {
        let found = async {
            loop {
                match self.find().await {
                    Ok(set) => break set,
                    Err(why) => {
                        tracing::error!("oidc authenticator: initializing plugin: {why}");
                        *self.failure.lock() = Some(why.to_string());
                    }
                }
                tokio::time::sleep(AGAIN).await;
            }
        };
        let Some(set) = stop.run_until_cancelled(found).await else {
            return;
        };
        let set = self.keys.get_or_init(|| set);
        // whoever comes with a token asks for them again, should this fail
        if let Some(Err(why)) = stop.run_until_cancelled(set.renew(None)).await {
            tracing::error!("oidc authenticator: keys of {:?}: {why}", self.url());
        }
    }

    async fn find(&self) -> Result<KeySet, IssuerError> {
        let issuer = &self.config.issuer;
        let url = match issuer.discovery_url.as_str() {
            "" => format!(
                "{}{WELL_KNOWN}",
                issuer.url.strip_suffix('/').unwrap_or(&issuer.url)
            ),
            url => url.into(),
        };
        let document = get(&self.client(&url)?).await?;
        let found: Discovery = serde_json::from_slice(&document).map_err(IssuerError::Discovery)?;
        if found.issuer != issuer.url {
            return Err(IssuerError::Other {
                wanted: issuer.url.clone(),
                got: found.issuer,
            });
        }
        if found.jwks_uri.is_empty() {
            return Err(IssuerError::NoKeys);
        }
        Ok(KeySet {
            client: self.client(&found.jwks_uri)?,
            keys: ArcSwap::default(),
            asked: tokio::sync::Mutex::default(),
        })
    }

    fn client(&self, url: &str) -> Result<Client, IssuerError> {
        let client = Client::new(url, None, self.tls.clone(), Credentials::None, None)?;
        Ok(client)
    }

    /// Whose token of this issuer it is, and until when, in seconds since 1970.
    ///
    /// # Errors
    /// It is nobody's.
    pub async fn user(&self, token: &str) -> Result<(User, i64), Unauthorized> {
        let Some(set) = self.keys.get() else {
            return Err("oidc: authenticator not initialized".into());
        };
        let verified = async {
            let unverified = jws::parse(token, &self.algorithms)?;
            let payload = set.verified(&unverified).await?;
            claims::read(&payload, &self.config.issuer.audiences, self.clock.now())
        };
        let said = |why: ClaimError| Unauthorized(why.to_string());
        let (claims, until) = verified.await.map_err(|why| said(why.into()))?;
        let user = claims::user(&claims, &self.config, &self.mapper).map_err(said)?;
        Ok((user, until))
    }
}

async fn get(client: &Client) -> Result<bytes::Bytes, IssuerError> {
    let reply = client.get(PATIENCE).await?;
    match reply.status.as_u16() {
        200 => Ok(reply.body),
        code => Err(IssuerError::Code {
            code,
            body: String::from_utf8_lossy(&reply.body).into_owned(),
        }),
    }
}

impl KeySet {
    /// The claims of a token that one of the keys verifies.
    async fn verified(&self, token: &Unverified<'_>) -> Result<Vec<u8>, TokenError> {
        let keys = self.keys.load_full();
        if let Some(payload) = token.verified_by(&keys) {
            return Ok(payload.to_vec());
        }
        let failed = |why: String| TokenError::Signature(why);
        let renewed = self.renew(Some(&keys)).await;
        let renewed = renewed.map_err(|why| failed(format!("fetching keys {why}")))?;
        match token.verified_by(&renewed) {
            Some(payload) => Ok(payload.to_vec()),
            None => Err(failed("failed to verify id token signature".into())),
        }
    }

    /// The keys as the issuer has them now, unless others are here by now than those that are known, or they were asked for too often.
    async fn renew(&self, known: Option<&Arc<Vec<Key>>>) -> Result<Arc<Vec<Key>>, IssuerError> {
        // one at a time asks; who waited for that takes what came of it
        let mut asked = self.asked.lock().await;
        let held = self.keys.load_full();
        if known.is_some_and(|known| !Arc::ptr_eq(known, &held)) {
            return Ok(held);
        }
        let now = Instant::now();
        while asked.front().is_some_and(|at| now - *at >= WITHIN) {
            asked.pop_front();
        }
        if asked.len() >= MOST {
            return Ok(held);
        }
        asked.push_back(now);
        let document = get(&self.client).await?;
        let keys = Arc::new(jws::keys(&document).map_err(IssuerError::Keys)?);
        self.keys.store(keys.clone());
        Ok(keys)
    }
}
