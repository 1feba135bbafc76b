//! AuthenticationConfiguration, as its file or the older flags say it.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/apis/apiserver/v1/types.go` and `pkg/kubeapiserver/options/authentication.go` (ToAuthenticationConfig).

use std::path::PathBuf;

use serde::Deserialize;

use crate::config_file::{self as file, FileError};

pub const KIND: file::Kind = file::Kind {
    group: file::SERVER,
    name: "AuthenticationConfiguration",
    scheme: "k8s.io/kubernetes/pkg/kubeapiserver/options/authentication.go:879",
};

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AuthenticationConfiguration {
    pub jwt: Vec<JwtAuthenticator>,
    pub anonymous: Option<AnonymousAuthConfig>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct AnonymousAuthConfig {
    pub enabled: bool,
    pub conditions: Vec<AnonymousAuthCondition>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct AnonymousAuthCondition {
    pub path: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct JwtAuthenticator {
    pub issuer: Issuer,
    pub claim_validation_rules: Vec<ClaimValidationRule>,
    pub claim_mappings: ClaimMappings,
    pub user_validation_rules: Vec<UserValidationRule>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Issuer {
    pub url: String,
    #[serde(rename = "discoveryURL")]
    pub discovery_url: String,
    /// PEM; empty: the system's authorities.
    pub certificate_authority: String,
    pub audiences: Vec<String>,
    pub audience_match_policy: String,
    pub egress_selector_type: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClaimValidationRule {
    pub claim: String,
    pub required_value: String,
    pub expression: String,
    pub message: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClaimMappings {
    pub username: PrefixedClaimOrExpression,
    pub groups: PrefixedClaimOrExpression,
    pub uid: ClaimOrExpression,
    pub extra: Vec<ExtraMapping>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PrefixedClaimOrExpression {
    pub claim: String,
    pub prefix: Option<String>,
    pub expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ClaimOrExpression {
    pub claim: String,
    pub expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ExtraMapping {
    pub key: String,
    pub value_expression: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct UserValidationRule {
    pub expression: String,
    pub message: String,
}

/// The flags `--oidc-*`.
#[derive(Clone, Debug, Default)]
pub struct Oidc {
    pub issuer_url: String,
    pub client_id: String,
    pub ca_file: Option<PathBuf>,
    pub username_claim: String,
    pub username_prefix: String,
    pub groups_claim: String,
    pub groups_prefix: String,
    pub signing_algs: Vec<String>,
    pub required_claims: Vec<(String, String)>,
}

impl Oidc {
    /// The same as a configuration.
    ///
    /// # Errors
    /// The file of authorities cannot be read.
    pub fn configuration(&self) -> Result<AuthenticationConfiguration, FileError> {
        let username_prefix = match self.username_prefix.as_str() {
            // names of different issuers are not to be taken for each other, but for addresses, which are the same everywhere
            "" if self.username_claim != "email" => format!("{}#", self.issuer_url),
            "-" => String::new(),
            prefix => prefix.into(),
        };
        let mapping = |claim: &str, prefix: String| PrefixedClaimOrExpression {
            claim: claim.into(),
            prefix: Some(prefix),
            ..Default::default()
        };
        let authority = match &self.ca_file {
            Some(path) => String::from_utf8_lossy(&file::read(path)?).into_owned(),
            None => String::new(),
        };
        let mut mappings = ClaimMappings {
            username: mapping(&self.username_claim, username_prefix),
            ..Default::default()
        };
        if !self.groups_claim.is_empty() {
            mappings.groups = mapping(&self.groups_claim, self.groups_prefix.clone());
        }
        let required = self.required_claims.iter();
        let rules = required.map(|(claim, value)| ClaimValidationRule {
            claim: claim.clone(),
            required_value: value.clone(),
            ..Default::default()
        });
        let authenticator = JwtAuthenticator {
            issuer: Issuer {
                url: self.issuer_url.clone(),
                audiences: vec![self.client_id.clone()],
                certificate_authority: authority,
                ..Default::default()
            },
            claim_validation_rules: rules.collect(),
            claim_mappings: mappings,
            user_validation_rules: Vec::new(),
        };
        Ok(AuthenticationConfiguration {
            jwt: vec![authenticator],
            anonymous: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_the_older_flags() {
        for (claim, prefix, wanted) in [
            ("sub", "", "https://a#"),
            ("email", "", ""),
            ("sub", "-", ""),
            ("email", "x:", "x:"),
        ] {
            let flags = Oidc {
                issuer_url: "https://a".into(),
                username_claim: claim.into(),
                username_prefix: prefix.into(),
                ..Default::default()
            };
            let made = flags.configuration().unwrap();
            let username = &made.jwt[0].claim_mappings.username;
            assert_eq!(username.prefix.as_deref(), Some(wanted), "{claim} {prefix}");
            assert_eq!(made.jwt[0].claim_mappings.groups, Default::default());
        }
    }
}
