//! AuthorizationConfiguration, as its file or the older flags say it.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/apis/apiserver/v1/{types,defaults}.go` and `pkg/kubeapiserver/options/authorization.go`
//! (buildAuthorizationConfiguration).

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};
use skiff_api::machinery::gonum;

use crate::config_file as file;

pub const KIND: file::Kind = file::Kind {
    group: file::SERVER,
    name: "AuthorizationConfiguration",
    scheme: "k8s.io/apiserver/pkg/apis/apiserver/load/load.go:32",
};
pub const WEBHOOK: &str = "Webhook";
/// What the older flags make of their one webhook.
const DEFAULT_NAME: &str = "default";
const NO_OPINION: &str = "NoOpinion";
const KUBECONFIG: &str = "KubeConfigFile";

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AuthorizationConfiguration {
    pub authorizers: Vec<AuthorizerConfiguration>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AuthorizerConfiguration {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    pub webhook: Option<WebhookConfiguration>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct WebhookConfiguration {
    #[serde(rename = "authorizedTTL", deserialize_with = "span")]
    pub authorized_ttl: i64,
    pub cache_authorized_requests: Option<bool>,
    #[serde(rename = "unauthorizedTTL", deserialize_with = "span")]
    pub unauthorized_ttl: i64,
    pub cache_unauthorized_requests: Option<bool>,
    #[serde(deserialize_with = "span")]
    pub timeout: i64,
    pub subject_access_review_version: String,
    pub match_condition_subject_access_review_version: String,
    pub failure_policy: String,
    pub connection_info: ConnectionInfo,
    pub match_conditions: Vec<MatchCondition>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ConnectionInfo {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(rename = "kubeConfigFile")]
    pub kubeconfig_file: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct MatchCondition {
    pub expression: String,
}

/// In nanoseconds.
fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    let text = String::deserialize(deserializer)?;
    gonum::duration(&text).map_err(D::Error::custom)
}

/// A span that has been found to be one.
pub fn duration(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.try_into().unwrap_or(0))
}

/// The flags `--authorization-webhook-*`.
#[derive(Clone, Debug, Default)]
pub struct AuthorizationWebhook {
    /// A kubeconfig.
    pub config_file: String,
    /// `v1` or `v1beta1`.
    pub version: String,
    pub authorized_ttl: Duration,
    pub unauthorized_ttl: Duration,
}

impl AuthorizationConfiguration {
    /// What is absent of a file is what upstream says it is.
    pub fn defaulted(mut self) -> AuthorizationConfiguration {
        const SECOND: i64 = 1_000_000_000;
        for webhook in self
            .authorizers
            .iter_mut()
            .filter_map(|one| one.webhook.as_mut())
        {
            if webhook.authorized_ttl == 0 {
                webhook.authorized_ttl = 300 * SECOND;
            }
            if webhook.unauthorized_ttl == 0 {
                webhook.unauthorized_ttl = 30 * SECOND;
            }
            webhook.cache_authorized_requests.get_or_insert(true);
            webhook.cache_unauthorized_requests.get_or_insert(true);
        }
        self
    }

    /// The same that these modes and flags say.
    pub fn of_flags(modes: &[String], webhook: &AuthorizationWebhook) -> Self {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        let asked = || WebhookConfiguration {
            authorized_ttl: nanos(webhook.authorized_ttl),
            cache_authorized_requests: Some(!webhook.authorized_ttl.is_zero()),
            unauthorized_ttl: nanos(webhook.unauthorized_ttl),
            cache_unauthorized_requests: Some(!webhook.unauthorized_ttl.is_zero()),
            timeout: nanos(Duration::from_secs(30)),
            subject_access_review_version: webhook.version.clone(),
            failure_policy: NO_OPINION.into(),
            connection_info: ConnectionInfo {
                kind: KUBECONFIG.into(),
                kubeconfig_file: Some(webhook.config_file.clone()),
            },
            ..Default::default()
        };
        let authorizers = modes.iter().map(|mode| match mode.as_str() {
            WEBHOOK => AuthorizerConfiguration {
                kind: mode.clone(),
                name: DEFAULT_NAME.into(),
                webhook: Some(asked()),
            },
            _ => AuthorizerConfiguration {
                kind: mode.clone(),
                name: mode.to_lowercase(),
                webhook: None,
            },
        });
        AuthorizationConfiguration {
            authorizers: authorizers.collect(),
        }
    }
}
