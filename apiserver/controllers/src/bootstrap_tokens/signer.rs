//! The signer of `cluster-info`: each bootstrap token vouches for what the cluster says of itself in kube-public.
//!
//! Invariant: signatures of tokens that are gone go, too. Follows pkg/controller/bootstrap/bootstrapsigner.go and
//! staging/src/k8s.io/cluster-bootstrap/token/jws/jws.go.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use ring::hmac;
use serde_json::json;

use super::{NAMESPACE, is_token, signs};
use crate::prelude::*;

const INFO: (&str, &str) = ("kube-public", "cluster-info");
const SIGNATURE: &str = "jws-kubeconfig-";

struct Controller {
    api: Api,
    clock: Clock,
    secrets: Informer<Secret>,
    maps: Informer<ConfigMap>,
}

/// `bootstrap-signer-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "bootstrap_signer_queue",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            secrets: context.informer(),
            maps: context.informer(),
        },
    );
    let info = Key::new(INFO.0, INFO.1);
    let key = info.clone();
    c.each_if(&c.maps, move |change| {
        Key::of(&change.object().metadata) == key
    });
    c.on(&c.secrets, move |_, change, queue| {
        if is_token(change.object()) {
            queue.add(info.clone());
        }
    });
    Ok(c.some_workers(1))
}

/// The detached signature of `content`: `HEADER..SIGNATURE`.
pub fn sign(id: &str, secret: &str, content: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!(
        "{header}..{}",
        URL_SAFE_NO_PAD.encode(hmac::sign(&key, signed.as_bytes()))
    )
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "bootstrap-signer-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(map) = self.maps.get(key) else {
            return Ok(Next::DONE);
        };
        let Some(content) = map.data.as_ref().and_then(|data| data.get("kubeconfig")) else {
            return Ok(Next::DONE);
        };
        let now = self.clock.now();
        let secrets = self.secrets.in_namespace(NAMESPACE);
        let tokens: BTreeMap<&str, &str> = secrets
            .iter()
            .filter(|secret| is_token(secret))
            .filter_map(|secret| signs(secret, now))
            .collect();
        let mut data = map.data.clone().unwrap_or_default();
        data.retain(|name, _| !name.starts_with(SIGNATURE));
        data.extend(
            tokens
                .into_iter()
                .map(|(id, secret)| (format!("{SIGNATURE}{id}"), sign(id, secret, content))),
        );
        if map.data.as_ref() != Some(&data) {
            match self
                .api
                .update(&ConfigMap {
                    data: Some(data),
                    ..(*map).clone()
                })
                .await
            {
                Err(error) if !error.is_not_found() && !error.is_conflict() => return Err(error),
                _ => {}
            }
        }
        Ok(Next::DONE)
    }
}
