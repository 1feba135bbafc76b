//! Verifies service-account tokens.
//!
//! Invariant: signature and issuer first, then audience, then time, then that the account and whatever the token is bound to are still there
//! under the same uid. What never changes of a token (its signature, its claims) is remembered; all else is judged each time.
//! Follows `pkg/serviceaccount/{jwt,claims,legacy}.go`.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha256};
use skiff_api::machinery::quote::go_quote;
use skiff_api::machinery::{clock::SharedClock, meta::Meta, read::Read, status::Status, time};
use skiff_storage::Object;
use subtle::ConstantTimeEq;

use tokio::sync::mpsc::Sender;

use super::{
    LAST_USED, Used,
    claims::{Claims, Kubernetes, LEGACY_ISSUER},
};
use crate::auth::{
    ALL_SERVICE_ACCOUNTS, Objects, SERVICE_ACCOUNT_GROUP_PREFIX, SERVICE_ACCOUNT_PREFIX,
    Unauthorized, User,
    authenticate::identity::{Holder, audience_error},
    jwt,
    keys::PublicKey,
    split_service_account,
    text::aggregate,
};

/// How far clocks may differ (seconds).
const LEEWAY: i64 = 60;
/// So many verified tokens are remembered; then all are forgotten.
const REMEMBERED: usize = 16_384;
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const INVALIDATED: &str = "service account token has been invalidated";
const AUTO_GENERATED: &str = "Use tokens from the TokenRequest API or manually created secret-based tokens instead of auto-generated secret-based tokens.";

pub struct Verifier {
    keys: Vec<PublicKey>,
    issuers: Vec<String>,
    /// What a token without audiences is for.
    audiences: Vec<String>,
    lookup: bool,
    objects: Arc<dyn Objects>,
    clock: SharedClock,
    /// Who labels secrets that are used.
    used: Option<Sender<Used>>,
    /// By the hash of the token.
    verified: Mutex<HashMap<[u8; 32], Arc<Claims>>>,
}

impl Verifier {
    pub fn new(
        keys: Vec<PublicKey>,
        issuers: Vec<String>,
        audiences: Vec<String>,
        lookup: bool,
        objects: Arc<dyn Objects>,
        clock: SharedClock,
    ) -> Verifier {
        Verifier {
            keys,
            issuers,
            audiences,
            lookup,
            objects,
            clock,
            used: None,
            verified: Mutex::default(),
        }
    }

    /// Tells `used` of secrets whose tokens are used.
    pub fn telling(self, used: Sender<Used>) -> Verifier {
        Verifier {
            used: Some(used),
            ..self
        }
    }

    /// Whose token this is, for those of `wanted` that it is for. `Ok(None)`: it is not a token of ours.
    pub fn holder(&self, token: &str, wanted: &[String]) -> Result<Option<Holder>, Unauthorized> {
        let Some(claims) = self.claims(token)? else {
            return Ok(None);
        };
        let own = if claims.aud.is_empty() {
            &self.audiences
        } else {
            &claims.aud
        };
        let audiences: Vec<String> = own
            .iter()
            .filter(|audience| wanted.contains(audience))
            .cloned()
            .collect();
        if audiences.is_empty() && !self.audiences.is_empty() {
            return Err(audience_error(own, wanted).into());
        }
        let mut warnings = Vec::new();
        let user = match claims.iss.as_str() {
            LEGACY_ISSUER => self.legacy(token, &claims, &mut warnings)?,
            _ => self.bound(&claims)?,
        };
        Ok(Some(Holder {
            user,
            audiences,
            warnings,
        }))
    }

    /// The claims of a token with an issuer of ours, its signature checked.
    fn claims(&self, token: &str) -> Result<Option<Arc<Claims>>, Unauthorized> {
        let Some([header, payload, signature]) = jwt::parts(token) else {
            return Ok(None);
        };
        let hash: [u8; 32] = Sha256::digest(token).into();
        if let Some(claims) = self.verified.lock().get(&hash) {
            return Ok(Some(claims.clone()));
        }
        let Some(claims) =
            jwt::decoded(payload).and_then(|bytes| serde_json::from_slice::<Claims>(&bytes).ok())
        else {
            return Ok(None);
        };
        let ours = claims.iss == LEGACY_ISSUER || self.issuers.contains(&claims.iss);
        let (Some(header_bytes), Some(signature), true) =
            (jwt::decoded(header), jwt::decoded(signature), ours)
        else {
            return Ok(None);
        };
        let Ok(said) = serde_json::from_slice::<jwt::Header>(&header_bytes) else {
            return Ok(None);
        };
        let message = &token.as_bytes()[..header.len() + 1 + payload.len()];
        self.check_signature(&said, message, &signature)?;
        let claims = Arc::new(claims);
        let mut verified = self.verified.lock();
        if verified.len() >= REMEMBERED {
            verified.clear();
        }
        verified.insert(hash, claims.clone());
        Ok(Some(claims))
    }

    fn check_signature(
        &self,
        said: &jwt::Header,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), Unauthorized> {
        let named: Vec<&PublicKey> = self
            .keys
            .iter()
            .filter(|key| key.id() == said.kid)
            .collect();
        let candidates = if named.is_empty() {
            self.keys.iter().collect()
        } else {
            named
        };
        let mut errors = Vec::new();
        for key in candidates {
            if key.algorithm().name() != said.alg || !said.crit.is_null() {
                errors.push("go-jose/go-jose: unknown/unsupported algorithm".to_owned());
            } else if key.verifies(message, signature) {
                return Ok(());
            } else {
                errors.push("go-jose/go-jose: error in cryptographic primitive".to_owned());
            }
        }
        Err(aggregate(&errors)
            .unwrap_or_else(|| "invalid signature, no keys found".to_owned())
            .into())
    }

    fn now(&self) -> i64 {
        self.clock.now().as_second()
    }

    fn bound(&self, claims: &Claims) -> Result<User, Unauthorized> {
        let now = self.now();
        if claims.nbf.is_some_and(|nbf| now + LEEWAY < nbf) {
            return Err("service account token is not valid yet".into());
        }
        if claims.exp.is_some_and(|exp| now - LEEWAY > exp) {
            return Err("service account token has expired".into());
        }
        if claims.iat.is_some_and(|iat| now + LEEWAY < iat) {
            return Err("service account token is issued in the future".into());
        }
        let said = &claims.kubernetes;
        let (namespace, account) = (said.namespace.as_str(), &said.serviceaccount);
        let stored = self.account(namespace, &account.name)?;
        if uid(&stored) != account.uid {
            return Err(format!(
                "service account UID ({}) does not match claim ({})",
                uid(&stored),
                account.uid
            )
            .into());
        }
        if self.gone(&stored)? {
            return Err(format!(
                "service account {namespace}/{} has been deleted",
                account.name
            )
            .into());
        }
        self.check_references(said)?;
        let mut user = account_user(namespace, &account.name, &account.uid);
        let mut tell = |key: &str, value: &str| {
            drop(user.extra.insert(
                format!("authentication.kubernetes.io/{key}"),
                vec![value.to_owned()],
            ))
        };
        if !claims.jti.is_empty() {
            tell("credential-id", &format!("JTI={}", claims.jti));
        }
        if let Some(pod) = said
            .pod
            .as_ref()
            .filter(|pod| !pod.name.is_empty() && !pod.uid.is_empty())
        {
            tell("pod-name", &pod.name);
            tell("pod-uid", &pod.uid);
        }
        if let Some(node) = said.node.as_ref().filter(|node| !node.name.is_empty()) {
            tell("node-name", &node.name);
            if !node.uid.is_empty() {
                tell("node-uid", &node.uid);
            }
        }
        Ok(user)
    }

    /// That what the token is bound to is still there.
    fn check_references(&self, said: &Kubernetes) -> Result<(), Unauthorized> {
        // The node of a pod's token is there for information.
        let node = if said.pod.is_none() {
            said.node.as_ref()
        } else {
            None
        };
        let references = [
            ("secret", said.secret.as_ref()),
            ("pod", said.pod.as_ref()),
            ("node", node),
        ];
        for (kind, reference) in references {
            let Some(reference) = reference else {
                continue;
            };
            let namespace = if kind == "node" { "" } else { &said.namespace };
            let object = self
                .objects
                .get(&format!("{kind}s"), namespace, &reference.name)
                .ok_or(INVALIDATED)?;
            if uid(&object) != reference.uid {
                return Err(format!(
                    "{kind} UID ({}) does not match service account {kind} ref claim ({})",
                    uid(&object),
                    reference.uid
                )
                .into());
            }
            if self.gone(&object)? {
                return Err(INVALIDATED.into());
            }
        }
        Ok(())
    }

    fn legacy(
        &self,
        token: &str,
        claims: &Claims,
        warnings: &mut Vec<String>,
    ) -> Result<User, Unauthorized> {
        let (namespace, name) = (
            claims.legacy_namespace.as_str(),
            claims.legacy_name.as_str(),
        );
        for (claim, value) in [
            ("sub", &claims.sub),
            ("namespace", &claims.legacy_namespace),
            ("secretName", &claims.legacy_secret),
            ("serviceAccountName", &claims.legacy_name),
            ("serviceAccountUID", &claims.legacy_uid),
        ] {
            if value.is_empty() {
                return Err(format!("{claim} claim is missing").into());
            }
        }
        if split_service_account(&claims.sub) != Some((namespace, name)) {
            return Err("sub claim is invalid".into());
        }
        if self.lookup {
            self.look_up(token, claims, warnings)?;
        }
        Ok(account_user(namespace, name, &claims.legacy_uid))
    }

    /// A token of a secret holds as long as the secret holds it.
    fn look_up(
        &self,
        token: &str,
        claims: &Claims,
        warnings: &mut Vec<String>,
    ) -> Result<(), Unauthorized> {
        let (namespace, name) = (
            claims.legacy_namespace.as_str(),
            claims.legacy_name.as_str(),
        );
        let secret = self
            .objects
            .get("secrets", namespace, &claims.legacy_secret)
            .ok_or("Token has been invalidated")?;
        let secret = parse(&secret)?;
        if secret.is_deleting() {
            return Err("Token has been invalidated".into());
        }
        let held = secret
            .at("data")
            .text_ptr("token")
            .and_then(|text| STANDARD.decode(text).ok())
            .unwrap_or_default();
        if !bool::from(held.ct_eq(token.as_bytes())) {
            return Err("Token does not match server's copy".into());
        }
        let account = parse(&*self.account(namespace, name)?)?;
        if account.is_deleting() {
            return Err(format!("ServiceAccount {namespace}/{name} has been deleted").into());
        }
        if account.uid() != claims.legacy_uid {
            return Err(format!(
                "ServiceAccount UID ({}) does not match claim ({})",
                account.uid(),
                claims.legacy_uid
            )
            .into());
        }
        self.tell(&secret);
        if secret
            .label(INVALID_SINCE)
            .is_some_and(|since| !since.is_empty())
        {
            return Err(format!(
                "the token in secret {namespace}/{} for service account {namespace}/{name} has been marked invalid. Use tokens from the TokenRequest \
                 API or manually created secret-based tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this token",
                claims.legacy_secret
            ).into());
        }
        if account
            .list("secrets")
            .iter()
            .any(|reference| reference["name"] == claims.legacy_secret.as_str())
        {
            warnings.push(AUTO_GENERATED.to_owned());
        }
        Ok(())
    }

    /// That the secret's token is used, unless its label says so already. When there is much to tell, another use will tell it.
    fn tell(&self, secret: &Value) {
        let Some(used) = &self.used else { return };
        let day = self.clock.now().to_zoned(jiff::tz::TimeZone::UTC).date();
        let near = [Ok(day), day.tomorrow()]
            .into_iter()
            .flatten()
            .any(|day| secret.label(LAST_USED) == Some(&day.to_string()));
        if !near {
            let told = Used {
                namespace: secret.namespace().into(),
                name: secret.name().into(),
                uid: secret.uid().into(),
            };
            // when many are told of at once, this one is told of when it is used again
            if used.try_send(told).is_err() {
                tracing::debug!("the use of a token in a secret is not noted this time");
            }
        }
    }

    fn account(&self, namespace: &str, name: &str) -> Result<Arc<Object>, Unauthorized> {
        let absent = || Unauthorized(Status::not_found("", "serviceaccounts", name).message);
        self.objects
            .get("serviceaccounts", namespace, name)
            .ok_or_else(absent)
    }

    /// Marked for deletion, and longer ago than clocks may differ.
    fn gone(&self, object: &Object) -> Result<bool, Unauthorized> {
        if !object.attributes().deleting && !object.attributes().uid().is_empty() {
            return Ok(false);
        }
        let parsed = parse(object)?;
        let Some(at) = parsed.at("metadata").text_ptr("deletionTimestamp") else {
            return Ok(false);
        };
        Ok(time::parse(at).map_or(true, |at| at.as_second() < self.now() - LEEWAY))
    }
}

fn parse(object: &Object) -> Result<Value, Unauthorized> {
    serde_json::from_slice(&object.bytes.read())
        .map_err(|error| format!("cannot read {}: {error}", go_quote(&object.key.name)).into())
}

/// From what the server keeps beside the object, or from the object where it keeps nothing.
fn uid(object: &Object) -> String {
    match object.attributes().uid().is_empty() {
        true => parse(object)
            .map(|parsed| parsed.uid().to_owned())
            .unwrap_or_default(),
        false => object.attributes().uid().to_string(),
    }
}

fn account_user(namespace: &str, name: &str, uid: &str) -> User {
    User {
        name: format!("{SERVICE_ACCOUNT_PREFIX}{namespace}:{name}"),
        uid: uid.to_owned(),
        groups: vec![
            ALL_SERVICE_ACCOUNTS.to_owned(),
            format!("{SERVICE_ACCOUNT_GROUP_PREFIX}{namespace}"),
        ],
        extra: BTreeMap::new(),
    }
}
