//! Bootstrap tokens, by which new machines join: secrets of kube-system.
//!
//! Invariant: a token whose secret is not as it should be is good for nothing. Follows
//! staging/src/k8s.io/cluster-bootstrap/util/secrets/secrets.go and pkg/controller/bootstrap/util.go.

pub mod cleaner;
pub mod signer;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use skiff_api::machinery::time;

use crate::clock::until;

const NAMESPACE: &str = "kube-system";
const TYPE: &str = "bootstrap.kubernetes.io/token";
const PREFIX: &str = "bootstrap-token-";

fn is_token(secret: &Secret) -> bool {
    secret.type_.as_deref() == Some(TYPE) && secret.metadata.namespace.as_deref() == Some(NAMESPACE)
}

fn field<'a>(secret: &'a Secret, key: &str) -> &'a str {
    secret
        .data
        .as_ref()
        .and_then(|data| data.get(key))
        .and_then(|bytes| std::str::from_utf8(&bytes.0).ok())
        .unwrap_or("")
}

/// How long a token is good for yet.
#[derive(Debug, PartialEq)]
enum Life {
    Endless,
    Left(Duration),
    /// Or its end cannot be read.
    Over,
}

fn life(secret: &Secret, now: Timestamp) -> Life {
    match field(secret, "expiration") {
        "" => Life::Endless,
        text => match time::parse(text) {
            Ok(end) if end > now => Life::Left(until(now, end)),
            _ => Life::Over,
        },
    }
}

/// The id and the secret of a token that is to sign.
fn signs(secret: &Secret, now: Timestamp) -> Option<(&str, &str)> {
    let id = secret.metadata.name.as_deref()?.strip_prefix(PREFIX)?;
    let plain = id.len() == 6
        && id
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    let key = field(secret, "token-secret");
    let good = plain
        && field(secret, "token-id") == id
        && !key.is_empty()
        && life(secret, now) != Life::Over;
    (good && field(secret, "usage-bootstrap-signing") == "true").then_some((id, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(name: &str, fields: &[(&str, &str)]) -> Secret {
        let mut data = std::collections::BTreeMap::new();
        for (key, value) in [
            ("token-id", "abcdef"),
            ("token-secret", "s"),
            ("usage-bootstrap-signing", "true"),
        ]
        .iter()
        .chain(fields)
        {
            data.insert(
                (*key).to_string(),
                k8s_openapi::ByteString(value.as_bytes().to_vec()),
            );
        }
        let mut secret = Secret {
            data: Some(data),
            type_: Some(TYPE.into()),
            ..Secret::default()
        };
        secret.metadata.name = Some(name.into());
        secret
    }

    #[test]
    fn which_tokens_sign_and_for_how_long() {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        #[rustfmt::skip]
        let cases = [
            ("bootstrap-token-abcdef", vec![], true),
            ("bootstrap-token-abcdeg", vec![], false),
            ("bootstrap-token-ABCDEF", vec![("token-id", "ABCDEF")], false),
            ("abcdef", vec![], false),
            ("bootstrap-token-abcdef", vec![("token-secret", "")], false),
            ("bootstrap-token-abcdef", vec![("usage-bootstrap-signing", "yes")], false),
            ("bootstrap-token-abcdef", vec![("expiration", "2025-12-31T00:00:00Z")], false),
            ("bootstrap-token-abcdef", vec![("expiration", "tomorrow")], false),
            ("bootstrap-token-abcdef", vec![("expiration", "2026-01-01T01:00:00+01:00")], false),
            ("bootstrap-token-abcdef", vec![("expiration", "2026-01-01T00:00:01Z")], true),
        ];
        for (name, fields, expected) in cases {
            assert_eq!(
                signs(&secret(name, &fields), now).is_some(),
                expected,
                "{name} {fields:?}"
            );
        }
        assert_eq!(
            life(&secret("x", &[("expiration", "2026-01-01T00:01:00Z")]), now),
            Life::Left(Duration::from_secs(60))
        );
        assert_eq!(life(&secret("x", &[]), now), Life::Endless);
    }
}
