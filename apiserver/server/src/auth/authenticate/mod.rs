//! Who asks? The authenticators, asked one after another.
//!
//! Invariant: a request whose credentials do not hold is refused, it does not become anonymous; whoever is authenticated is of
//! `system:authenticated`; tokens are compared in constant time or by their signature. Follows `pkg/kubeapiserver/authenticator/config.go`
//! and `staging/src/k8s.io/apiserver/pkg/authentication/request/{union,bearertoken,websocket,anonymous}`.

pub mod bootstrap_token;
mod identity;
pub mod request_header;
pub mod review;
pub mod service_account;
pub mod token_file;
pub mod x509;

use std::{path::PathBuf, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use skiff_api::machinery::clock::SharedClock;

use super::{
    ALL_UNAUTHENTICATED, ANONYMOUS, Objects, Unauthorized, User, keys::PublicKey,
    pki::PeerCertificate, text::aggregate,
};
use identity::with_group;
pub use identity::{ConfigError, Holder, Identity, RemoteTokens};
pub use request_header::FrontProxies;
use service_account::verify::Verifier;
use token_file::TokenFile;

const BEARER_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io.";
const SPACE_WARNING: &str = "the provided Authorization header contains extra space before the bearer token, and is ignored";

/// What the command line says about authentication.
pub struct Config {
    /// PEM; `None`: client certificates are not believed.
    pub client_ca: Option<Vec<u8>>,
    /// Who may speak for others.
    pub front_proxies: Option<FrontProxies>,
    /// `--token-auth-file`.
    pub token_file: Option<PathBuf>,
    /// `--service-account-key-file`s; empty: service-account tokens are not believed.
    pub service_account_keys: Vec<PublicKey>,
    /// `--service-account-issuer`s, the first the one that signs.
    pub issuers: Vec<String>,
    /// `--api-audiences`, by default the issuers.
    pub audiences: Vec<String>,
    /// `--service-account-lookup`.
    pub lookup: bool,
    /// `--enable-bootstrap-token-auth`.
    pub bootstrap_tokens: bool,
    pub anonymous: Anonymous,
    /// Who is asked about tokens that nobody here knows, in this order.
    pub remote: Vec<Arc<dyn RemoteTokens>>,
}

/// Who may be nobody.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Anonymous {
    #[default]
    No,
    Yes,
    /// Requests for these paths alone.
    Paths(Vec<String>),
}

impl Anonymous {
    fn may(&self, path: &str) -> bool {
        match self {
            Anonymous::No => false,
            Anonymous::Yes => true,
            Anonymous::Paths(paths) => paths.iter().any(|one| one == path),
        }
    }
}

pub struct Authenticator {
    front_proxies: Option<request_header::Verifier>,
    certificates: Option<x509::Verifier>,
    token_file: Option<TokenFile>,
    service_accounts: Option<Verifier>,
    bootstrap_tokens: bool,
    remote: Vec<Arc<dyn RemoteTokens>>,
    anonymous: Anonymous,
    audiences: Vec<String>,
    objects: Arc<dyn Objects>,
    clock: SharedClock,
}

impl Authenticator {
    pub fn new(
        config: Config,
        objects: Arc<dyn Objects>,
        clock: SharedClock,
    ) -> Result<Authenticator, ConfigError> {
        let audiences = if config.audiences.is_empty() {
            config.issuers.clone()
        } else {
            config.audiences
        };
        let service_accounts = (!config.service_account_keys.is_empty()).then(|| {
            Verifier::new(
                config.service_account_keys,
                config.issuers,
                audiences.clone(),
                config.lookup,
                objects.clone(),
                clock.clone(),
            )
        });
        Ok(Authenticator {
            front_proxies: config
                .front_proxies
                .map(request_header::Verifier::new)
                .transpose()?,
            certificates: config
                .client_ca
                .map(|pem| x509::Verifier::new(&pem))
                .transpose()?,
            token_file: config
                .token_file
                .map(|path| TokenFile::read(&path))
                .transpose()?,
            service_accounts,
            bootstrap_tokens: config.bootstrap_tokens,
            remote: config.remote,
            anonymous: config.anonymous,
            audiences,
            objects,
            clock,
        })
    }

    /// Tells `used` of secrets whose tokens are used.
    pub fn telling(self, used: tokio::sync::mpsc::Sender<service_account::Used>) -> Authenticator {
        Authenticator {
            service_accounts: self.service_accounts.map(|verifier| verifier.telling(used)),
            ..self
        }
    }

    /// Who sends a request for this path with these headers, over a connection with this certificate. `None`: nobody, where nobody may ask. Nothing
    /// here waits but for those outside who know tokens that nobody here does.
    pub async fn identify(
        &self,
        path: &str,
        headers: &HeaderMap,
        peer: Option<&PeerCertificate>,
    ) -> Result<Option<Identity>, Unauthorized> {
        let mut errors = Vec::new();
        if let (Some(verifier), Some(peer)) = (&self.front_proxies, peer) {
            match verifier.user(headers, peer, self.clock.now()) {
                Ok(Some(user)) => {
                    return Ok(Some(Identity {
                        user: Arc::new(with_group(user)),
                        warnings: Vec::new(),
                    }));
                }
                Ok(None) => {}
                Err(error) => errors.push(error.0),
            }
        }
        if let (Some(verifier), Some(peer)) = (&self.certificates, peer) {
            match verifier.user(peer, self.clock.now()) {
                Ok(Some(user)) => {
                    return Ok(Some(Identity {
                        user,
                        warnings: Vec::new(),
                    }));
                }
                Ok(None) => {}
                Err(error) => errors.push(error.0),
            }
        }
        let mut warnings = Vec::new();
        for token in [
            bearer_token(headers, &mut warnings),
            websocket_token(headers),
        ] {
            let held = match token {
                Ok(Some(token)) => self.token(&token, &self.audiences).await.map(Some),
                Ok(None) => Ok(None),
                Err(error) => Err(error),
            };
            match held {
                Ok(Some(holder)) => {
                    return Ok(Some(Identity {
                        user: Arc::new(with_group(holder.user)),
                        warnings: holder.warnings,
                    }));
                }
                Ok(None) => {}
                Err(Unauthorized(error)) => errors.push(error),
            }
        }
        if let Some(errors) = aggregate(&errors) {
            tracing::debug!("unable to authenticate the request: {errors}");
            return Err(Unauthorized(errors));
        }
        Ok(self.anonymous.may(path).then(|| Identity {
            user: Arc::new(User::new(ANONYMOUS, &[ALL_UNAUTHENTICATED])),
            warnings,
        }))
    }

    /// Whose token this is, when it is good for one of the audiences.
    async fn token(&self, token: &str, audiences: &[String]) -> Result<Holder, Unauthorized> {
        let mut errors = Vec::new();
        let shared: Vec<String> = self
            .audiences
            .iter()
            .filter(|audience| audiences.contains(audience))
            .cloned()
            .collect();
        // Tokens that name no audience are for the API's own.
        let agnostic =
            |user: Option<User>| user.filter(|_| !shared.is_empty() || self.audiences.is_empty());
        let holder = |user| Holder {
            user,
            audiences: shared.clone(),
            warnings: Vec::new(),
        };
        if let Some(user) = agnostic(self.token_file.as_ref().and_then(|file| file.user(token))) {
            return Ok(holder(user));
        }
        match self
            .service_accounts
            .as_ref()
            .map_or(Ok(None), |verifier| verifier.holder(token, audiences))
        {
            Ok(Some(holder)) => return Ok(holder),
            Ok(None) => {}
            Err(error) => errors.push(error.0),
        }
        if self.bootstrap_tokens
            && let Some(user) = agnostic(bootstrap_token::user(
                token,
                &*self.objects,
                self.clock.now(),
            ))
        {
            return Ok(holder(user));
        }
        for remote in &self.remote {
            match remote.holder(token, audiences).await {
                Ok(Some(holder)) => return Ok(holder),
                Ok(None) => {}
                Err(error) => errors.push(error.0),
            }
        }
        Err(Unauthorized(
            aggregate(&errors).unwrap_or_else(|| "invalid bearer token".to_owned()),
        ))
    }

    /// What a TokenReview asks: whose token this is, for these audiences (empty: the API's).
    pub async fn review(&self, token: &str, audiences: &[String]) -> Result<Holder, Unauthorized> {
        let audiences = if audiences.is_empty() {
            &self.audiences
        } else {
            audiences
        };
        // A review sends the token as a header would: what does not survive that is no token.
        let mut warnings = Vec::new();
        let Some(token) = split_bearer(&format!("Bearer {token}"), &mut warnings) else {
            return Err(Unauthorized("invalid bearer token".to_owned()));
        };
        let holder = self.token(&token, audiences).await?;
        Ok(Holder {
            user: with_group(holder.user),
            ..holder
        })
    }
}

fn bearer_token(
    headers: &HeaderMap,
    warnings: &mut Vec<String>,
) -> Result<Option<String>, Unauthorized> {
    let text = headers
        .get(header::AUTHORIZATION)
        .map(HeaderValue::as_bytes)
        .unwrap_or_default();
    Ok(split_bearer(&String::from_utf8_lossy(text), warnings))
}

/// The token of an Authorization header; whatever is no bearer token is nobody's.
fn split_bearer(text: &str, warnings: &mut Vec<String>) -> Option<String> {
    let mut parts = text.trim().splitn(3, ' ');
    let scheme = parts.next()?;
    let token = parts.next()?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    if token.is_empty() {
        if parts.next().is_some() {
            warnings.push(SPACE_WARNING.to_owned());
        }
        return None;
    }
    Some(token.to_owned())
}

fn protocols(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

fn is_websocket(headers: &HeaderMap) -> bool {
    let says = |name, word: &str| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
            .is_some_and(|value| value.to_ascii_lowercase().contains(word))
    };
    says(header::CONNECTION, "upgrade") && says(header::UPGRADE, "websocket")
}

/// Browsers cannot set a header on a WebSocket: the token comes as a sub-protocol beside a real one.
fn websocket_token(headers: &HeaderMap) -> Result<Option<String>, Unauthorized> {
    if !is_websocket(headers) {
        return Ok(None);
    }
    let refuse = |why: &str| Unauthorized(why.to_owned());
    let mut tokens =
        protocols(headers).filter_map(|protocol| protocol.strip_prefix(BEARER_PROTOCOL));
    let Some(encoded) = tokens.next() else {
        return Ok(None);
    };
    if tokens.next().is_some() {
        return Err(refuse(
            "multiple base64.bearer.authorization tokens specified",
        ));
    }
    let bytes = URL_SAFE_NO_PAD
        .decode(encoded)
        .map_err(|_| refuse("invalid base64.bearer.authorization token encoding"))?;
    let token = String::from_utf8(bytes)
        .map_err(|_| refuse("invalid base64.bearer.authorization token"))?;
    if token.is_empty() {
        return Ok(None);
    }
    if protocols(headers).all(|protocol| protocol.starts_with(BEARER_PROTOCOL)) {
        return Err(refuse("missing additional subprotocol"));
    }
    Ok(Some(token))
}

/// Removes what proved who asks, so that nothing behind authentication sees it (a proxied kubelet, for one).
pub fn strip_credentials(headers: &mut HeaderMap) {
    headers.remove(header::AUTHORIZATION);
    if protocols(headers).any(|protocol| protocol.starts_with(BEARER_PROTOCOL)) {
        let kept: Vec<&str> = protocols(headers)
            .filter(|protocol| !protocol.starts_with(BEARER_PROTOCOL))
            .collect();
        match HeaderValue::from_str(&kept.join(",")) {
            Ok(value) => drop(headers.insert(header::SEC_WEBSOCKET_PROTOCOL, value)),
            Err(_) => drop(headers.remove(header::SEC_WEBSOCKET_PROTOCOL)),
        }
    }
}

#[cfg(test)]
mod tests;
