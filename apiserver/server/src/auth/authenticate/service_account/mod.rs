//! Service-account tokens: issued here, verified in [`verify`], bound to objects in [`bind`].
//!
//! Invariant: a token says who it is for, how long, and by which object it lives; it names the account by uid, so that an account made anew under
//! the same name does not inherit it. Follows `pkg/serviceaccount/{claims,jwt,openidmetadata}.go` and
//! `pkg/registry/core/serviceaccount/storage/token.go`.

pub mod bind;
mod claims;
pub mod verify;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
pub use bind::BoundTo;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use skiff_api::machinery::{
    field::{Errors, Path},
    meta::Meta,
    status::Status,
};

use crate::auth::{
    SERVICE_ACCOUNT_PREFIX,
    keys::{KeyError, PublicKey, SigningKey},
    null_is_default,
};

/// The life time that the projected token of a pod asks for, and that marks it as one that old clients may keep too long (seconds).
const WARN_ONLY_SECONDS: i64 = 60 * 60 + 7;
/// What such a token gets (seconds): a year.
const EXTENDED_SECONDS: i64 = 365 * 24 * 3600;
const HOUR: i64 = 3600;

/// The label of a secret that says on which day its token was last used.
pub const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";

/// A secret whose token was used, on a day that its label does not tell yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    pub namespace: String,
    pub name: String,
    pub uid: String,
}

/// What a server signs tokens with.
pub struct Issuer {
    key: SigningKey,
    /// All keys that verify, the signing one among them.
    published: Vec<PublicKey>,
    /// `iss`.
    issuer: String,
    /// `--api-audiences`.
    audiences: Vec<String>,
    /// `--service-account-jwks-uri`.
    jwks_uri: Option<String>,
    /// `--service-account-max-token-expiration`, seconds; 0: no limit.
    max_seconds: i64,
    /// `--service-account-extend-token-expiration`.
    extend: bool,
}

/// A token, with the spec that it answers (defaults filled in).
#[derive(Clone, Debug, PartialEq)]
pub struct Issued {
    pub spec: Value,
    pub token: String,
    pub expires: Timestamp,
    /// For Warning headers.
    pub warnings: Vec<String>,
}

/// `spec` of a TokenRequest.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    #[serde(deserialize_with = "null_is_default")]
    audiences: Vec<String>,
    expiration_seconds: Option<i64>,
    bound_object_ref: Option<Value>,
}

impl Issuer {
    /// `published` are the keys of `--service-account-key-file`s; the signing key's public half is added where it lacks.
    pub fn new(
        key: SigningKey,
        published: Vec<PublicKey>,
        issuer: impl Into<String>,
        audiences: Vec<String>,
    ) -> Issuer {
        let issuer = issuer.into();
        let audiences = if audiences.is_empty() {
            vec![issuer.clone()]
        } else {
            audiences
        };
        let mut all = published;
        if !all.contains(key.public()) {
            all.push(key.public().clone());
        }
        Issuer {
            key,
            published: all,
            issuer,
            audiences,
            jwks_uri: None,
            max_seconds: 0,
            extend: true,
        }
    }

    /// Keys are told to be somewhere else.
    pub fn with_jwks_uri(self, jwks_uri: Option<String>) -> Issuer {
        Issuer { jwks_uri, ..self }
    }

    /// The flags about life times and the address of the keys.
    pub fn with_flags(self, jwks_uri: Option<String>, max_seconds: i64, extend: bool) -> Issuer {
        Issuer {
            jwks_uri,
            max_seconds,
            extend,
            ..self
        }
    }

    /// All keys that verify what this server, and those before it, signed.
    pub fn keys(&self) -> &[PublicKey] {
        &self.published
    }

    /// A token for `account` (a ServiceAccount) by the `spec` of a TokenRequest, bound to `bound`. The error is the answer.
    pub fn issue(
        &self,
        account: &Value,
        spec: &Value,
        bound: Option<BoundTo>,
        now: Timestamp,
    ) -> Result<Issued, Status> {
        let mut spec = Option::<Spec>::deserialize(spec)
            .map_err(|error| Status::internal(format!("cannot read the request: {error}")))?
            .unwrap_or_default();
        if spec.audiences.is_empty() {
            spec.audiences = self.audiences.clone();
        }
        let mut seconds = spec.expiration_seconds.unwrap_or(HOUR);
        check_seconds(seconds)?;
        let mut warnings = Vec::new();
        if self.max_seconds > 0 && seconds > self.max_seconds {
            warnings.push(format!(
                "requested expiration of {seconds} seconds shortened to {} seconds",
                self.max_seconds
            ));
            seconds = self.max_seconds;
        }
        let for_api = spec
            .audiences
            .iter()
            .all(|audience| self.audiences.contains(audience));
        let to_pod = bound.as_ref().is_some_and(|bound| bound.kind == "Pod");
        // Clients of old read their token once: they get a year, and the time after which they are to be warned of.
        let (life, warn_after) =
            match self.extend && to_pod && for_api && seconds == WARN_ONLY_SECONDS {
                true => (EXTENDED_SECONDS, Some(now.as_second() + seconds)),
                false => (seconds, None),
            };
        let mut kubernetes = json!({
            "namespace": account.namespace(),
            "serviceaccount": {"name": account.name(), "uid": account.uid()},
        });
        if let Some(at) = warn_after {
            kubernetes["warnafter"] = json!(at);
        }
        if let Some(bound) = &bound {
            bound.claim(&mut kubernetes);
        }
        let claims = json!({
            "aud": spec.audiences,
            "exp": now.as_second() + life,
            "iat": now.as_second(),
            "iss": self.issuer,
            "jti": uuid::Uuid::new_v4().to_string(),
            "kubernetes.io": kubernetes,
            "nbf": now.as_second(),
            "sub": format!("{SERVICE_ACCOUNT_PREFIX}{}:{}", account.namespace(), account.name()),
        });
        let token = self
            .sign(&claims)
            .map_err(|error| Status::internal(format!("failed to generate token: {error}")))?;
        let expires =
            Timestamp::from_second(now.as_second() + seconds).map_err(Status::internal)?;
        let spec = json!({"audiences": spec.audiences, "expirationSeconds": seconds, "boundObjectRef": spec.bound_object_ref});
        Ok(Issued {
            spec,
            token,
            expires,
            warnings,
        })
    }

    /// The token of a secret of type `kubernetes.io/service-account-token`: without an end, gone with the secret.
    pub fn issue_legacy(&self, account: &Value, secret_name: &str) -> Result<String, KeyError> {
        let claim = |name: &str| format!("kubernetes.io/serviceaccount/{name}");
        self.sign(&json!({
            "iss": claims::LEGACY_ISSUER,
            "sub": format!("{SERVICE_ACCOUNT_PREFIX}{}:{}", account.namespace(), account.name()),
            claim("namespace"): account.namespace(),
            claim("secret.name"): secret_name,
            claim("service-account.name"): account.name(),
            claim("service-account.uid"): account.uid(),
        }))
    }

    fn sign(&self, claims: &Value) -> Result<String, KeyError> {
        let header =
            json!({"alg": self.key.public().algorithm().name(), "kid": self.key.public().id()});
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = self.key.sign(message.as_bytes())?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    /// `/openid/v1/jwks`, whose content type is `application/jwk-set+json`.
    pub fn jwks(&self) -> Value {
        json!({"keys": self.published.iter().map(PublicKey::jwk).collect::<Vec<_>>()})
    }

    /// `/.well-known/openid-configuration`; `host` (with its port) is where the keys are, unless a flag says so.
    pub fn openid_configuration(&self, host: &str) -> Value {
        let mut algorithms: Vec<&str> = self
            .published
            .iter()
            .map(|key| key.algorithm().name())
            .collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        json!({
            "issuer": self.issuer,
            "jwks_uri": self.jwks_uri.clone().unwrap_or_else(|| format!("https://{host}/openid/v1/jwks")),
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        })
    }
}

/// Ten minutes to 2^32 seconds.
fn check_seconds(seconds: i64) -> Result<(), Status> {
    let why = match seconds {
        ..600 => "may not specify a duration less than 10 minutes",
        _ if seconds > 1 << 32 => "may not specify a duration larger than 2^32 seconds",
        _ => return Ok(()),
    };
    let mut errors = Errors::default();
    errors.invalid(&Path::new("spec.expirationSeconds"), seconds, why);
    Err(Status::invalid(
        "authentication.k8s.io",
        "TokenRequest",
        "",
        &errors,
    ))
}
