//! What a token says, as read from it.
//!
//! Follows `pkg/serviceaccount/{claims,legacy}.go`.

use serde::{Deserialize, Deserializer};

use crate::auth::null_is_default;

/// `iss` of tokens that live in secrets.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Claims {
    #[serde(deserialize_with = "null_is_default")]
    pub iss: String,
    #[serde(deserialize_with = "null_is_default")]
    pub sub: String,
    #[serde(deserialize_with = "one_or_many")]
    pub aud: Vec<String>,
    #[serde(deserialize_with = "date")]
    pub exp: Option<i64>,
    #[serde(deserialize_with = "date")]
    pub nbf: Option<i64>,
    #[serde(deserialize_with = "date")]
    pub iat: Option<i64>,
    #[serde(deserialize_with = "null_is_default")]
    pub jti: String,
    #[serde(rename = "kubernetes.io", deserialize_with = "null_is_default")]
    pub kubernetes: Kubernetes,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.name")]
    pub legacy_name: String,
    #[serde(rename = "kubernetes.io/serviceaccount/service-account.uid")]
    pub legacy_uid: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name")]
    pub legacy_secret: String,
    #[serde(rename = "kubernetes.io/serviceaccount/namespace")]
    pub legacy_namespace: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Kubernetes {
    pub namespace: String,
    pub serviceaccount: Reference,
    pub pod: Option<Reference>,
    pub secret: Option<Reference>,
    pub node: Option<Reference>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Reference {
    pub name: String,
    pub uid: String,
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<OneOrMany>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    })
}

/// Seconds since 1970; a fraction is cut off.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    #[allow(
        clippy::cast_possible_truncation,
        reason = "a time beyond 64 bits is no time"
    )]
    Ok(Option::<f64>::deserialize(deserializer)?.map(|seconds| seconds as i64))
}
