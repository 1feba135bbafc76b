//! A token for the pod's service account, bound to the pod and asked for anew before it runs out.
//!
//! Invariant: a token is asked for again only when it is past 80% of its life or older than a day.
//! Follows `pkg/kubelet/token/token_manager.go`.

use std::{collections::HashMap, sync::LazyLock, time::Duration};

use jiff::Timestamp;
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{ServiceAccount, ServiceAccountTokenProjection},
};
use parking_lot::Mutex;
use skiff_watching::api::item;

use super::{Error, File, Files, Request};
use crate::{
    objects,
    pod::names::{name, namespace, spec, uid},
    time,
};

struct Cached {
    token: String,
    expires: Timestamp,
    lifetime: Duration,
}

/// By pod uid, audience and wanted lifetime. The oldest are dropped with the first look-up after they expired.
static TOKENS: LazyLock<Mutex<HashMap<(String, String, i64), Cached>>> =
    LazyLock::new(Mutex::default);

const DAY: Duration = Duration::from_secs(86_400);

fn needs_renewal(expires: Timestamp, lifetime: Duration, now: Timestamp) -> bool {
    let left = Duration::try_from(expires.duration_since(now)).unwrap_or(Duration::ZERO);
    let age = lifetime.saturating_sub(left);
    left < lifetime / 5 || age > DAY
}

/// The file with the token.
pub async fn files(
    request: &Request<'_>,
    source: &ServiceAccountTokenProjection,
    mode: i32,
) -> Result<Files, Error> {
    let audience = source.audience.clone().unwrap_or_default();
    let seconds = source.expiration_seconds.unwrap_or(3600);
    let key = (uid(request.pod).to_owned(), audience.clone(), seconds);
    let known = TOKENS
        .lock()
        .get(&key)
        .filter(|cached| !needs_renewal(cached.expires, cached.lifetime, time::now()))
        .map(|cached| cached.token.clone());
    let token = match known {
        Some(token) => token,
        None => {
            let fresh = ask(request, audience, seconds).await?;
            let token = fresh.token.clone();
            let mut tokens = TOKENS.lock();
            tokens.retain(|_, cached| cached.expires > time::now());
            tokens.insert(key, fresh);
            token
        }
    };
    Ok(Files::from([(
        source.path.clone(),
        File::secret(token.into_bytes(), mode, request),
    )]))
}

async fn ask(request: &Request<'_>, audience: String, seconds: i64) -> Result<Cached, Error> {
    let pod = request.pod;
    let account = spec(pod)
        .service_account_name
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("default");
    let body = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: (!audience.is_empty()).then(|| vec![audience]),
            expiration_seconds: Some(seconds),
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".to_owned()),
                kind: Some("Pod".to_owned()),
                name: Some(name(pod).to_owned()),
                uid: Some(uid(pod).to_owned()),
            }),
        }),
        ..Default::default()
    };
    let path = item::<ServiceAccount>(namespace(pod), account) + "/token";
    let answer: TokenRequest =
        request
            .node
            .api
            .post_object(&path, &body)
            .await
            .map_err(|error| {
                Error::Refused(format!(
                    "failed to fetch token: {}",
                    objects::Error::from(error)
                ))
            })?;
    let status = answer.status.ok_or_else(|| {
        Error::Refused("failed to fetch token: the answer has no status".to_owned())
    })?;
    let (Some(token), Some(expires)) = (status.token, status.expiration_timestamp) else {
        return Err(Error::Refused(
            "failed to fetch token: the answer has no token".to_owned(),
        ));
    };
    let expires = expires.0;
    Ok(Cached {
        token,
        expires,
        lifetime: time::until(expires),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_renewed_in_time() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let hour = Duration::from_secs(3600);
        assert!(!needs_renewal(at(3600), hour, at(0)));
        assert!(!needs_renewal(at(3600), hour, at(2800)));
        assert!(needs_renewal(at(3600), hour, at(2900)));
        assert!(
            needs_renewal(at(400_000), Duration::from_secs(400_000), at(86_500)),
            "older than a day"
        );
    }
}
