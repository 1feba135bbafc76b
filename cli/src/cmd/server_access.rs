//! The flags of `skiff server` that say who asks and who may: authentication and authorization by others.
//! Invariant: flags that exclude each other are refused, in upstream's words (`pkg/kubeapiserver/options/{authentication,authorization}.go`).

use anyhow::Context;
use skiff_server::access::{
    authentication::{self, Oidc, TokenWebhook},
    authorization::{self, AuthorizationWebhook},
};

use crate::flags::{Csv, Listed, seconds};

#[derive(clap::Args)]
#[group(skip)]
pub struct Access {
    /// Authorizers in order: Node, RBAC, AlwaysAllow, AlwaysDeny, Webhook (default Node,RBAC)
    #[arg(long)]
    authorization_mode: Vec<Csv>,
    /// File of authorizers in order (AuthorizationConfiguration), read again when it changes; excludes the other --authorization-* flags
    #[arg(long)]
    authorization_config: String,
    /// Kubeconfig of the webhook that the authorizer Webhook asks
    #[arg(long)]
    authorization_webhook_config_file: String,
    /// Version of the SubjectAccessReviews that it is sent
    #[arg(long, value_name = "v1beta1")]
    authorization_webhook_version: Option<String>,
    /// How long it is believed that something is allowed
    #[arg(long, value_name = "5m0s")]
    authorization_webhook_cache_authorized_ttl: Option<f64>,
    /// How long it is believed that something is not
    #[arg(long, value_name = "30s")]
    authorization_webhook_cache_unauthorized_ttl: Option<f64>,
    /// File of issuers of tokens and of what may be asked anonymously (AuthenticationConfiguration), read again when it changes
    #[arg(long)]
    authentication_config: String,
    /// Kubeconfig of a webhook that is asked about bearer tokens
    #[arg(long)]
    authentication_token_webhook_config_file: String,
    /// Version of the TokenReviews that it is sent
    #[arg(long, default_value = "v1beta1")]
    authentication_token_webhook_version: String,
    /// How long its answers are believed
    #[arg(long, default_value = "2m0s")]
    authentication_token_webhook_cache_ttl: f64,
    /// Take requests without credentials for system:anonymous; never with the authorizer AlwaysAllow
    #[arg(long, value_name = "true")]
    anonymous_auth: Option<bool>,
    /// URL of an OpenID Connect issuer whose tokens are believed; https alone
    #[arg(long)]
    oidc_issuer_url: Option<String>,
    /// The audience that its tokens must be for
    #[arg(long)]
    oidc_client_id: Option<String>,
    /// Certificate authorities that its certificate must lead to; by default the system's
    #[arg(long)]
    oidc_ca_file: Option<String>,
    /// The claim that is the name of the user
    #[arg(long, value_name = "sub")]
    oidc_username_claim: Option<String>,
    /// What stands before the name; by default the issuer and '#' before all claims but 'email', '-' is nothing
    #[arg(long)]
    oidc_username_prefix: Option<String>,
    /// The claim that holds the groups of the user
    #[arg(long)]
    oidc_groups_claim: Option<String>,
    /// What stands before each group
    #[arg(long)]
    oidc_groups_prefix: Option<String>,
    /// How tokens may be signed: RS256, RS384, RS512, ES256, ES384, PS256, PS384, PS512 (default RS256)
    #[arg(long)]
    oidc_signing_algs: Vec<Csv>,
    /// A claim that tokens must have, as KEY=VALUE; may be repeated
    #[arg(long)]
    oidc_required_claim: Vec<String>,
}

impl Access {
    /// What they say of authentication.
    ///
    /// # Errors
    /// They exclude each other, or one is missing.
    pub fn authentication(&self) -> anyhow::Result<authentication::Options> {
        let oidc = self.oidc()?;
        let config_file = given(&self.authentication_config);
        anyhow::ensure!(
            config_file.is_none() || oidc.is_none(),
            "authentication-config file and oidc-* flags are mutually exclusive"
        );
        let token_webhook =
            given(&self.authentication_token_webhook_config_file).map(|file| TokenWebhook {
                config_file: file.into(),
                version: self.authentication_token_webhook_version.clone(),
                cache_ttl: seconds(self.authentication_token_webhook_cache_ttl),
            });
        Ok(authentication::Options {
            config_file: config_file.map(Into::into),
            oidc,
            token_webhook,
            anonymous: self.anonymous_auth,
        })
    }

    fn oidc(&self) -> anyhow::Result<Option<Oidc>> {
        let texts = [
            &self.oidc_issuer_url,
            &self.oidc_client_id,
            &self.oidc_ca_file,
            &self.oidc_username_claim,
            &self.oidc_username_prefix,
            &self.oidc_groups_claim,
            &self.oidc_groups_prefix,
        ];
        let lists = !self.oidc_signing_algs.is_empty() || !self.oidc_required_claim.is_empty();
        if texts.iter().all(|text| text.is_none()) && !lists {
            return Ok(None);
        }
        let text = |of: &Option<String>| of.clone().unwrap_or_default();
        let (issuer_url, client_id) = (text(&self.oidc_issuer_url), text(&self.oidc_client_id));
        anyhow::ensure!(
            !issuer_url.is_empty() && !client_id.is_empty(),
            "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set"
        );
        let pair = |text: &String| {
            let (claim, value) = text
                .split_once('=')
                .with_context(|| format!("malformed pair, expect string=string: {text}"))?;
            Ok((claim.trim().to_string(), value.trim().to_string()))
        };
        let required: anyhow::Result<Vec<_>> = self.oidc_required_claim.iter().map(pair).collect();
        Ok(Some(Oidc {
            issuer_url,
            client_id,
            ca_file: given(&text(&self.oidc_ca_file)).map(Into::into),
            username_claim: self.oidc_username_claim.clone().unwrap_or("sub".into()),
            username_prefix: text(&self.oidc_username_prefix),
            groups_claim: text(&self.oidc_groups_claim),
            groups_prefix: text(&self.oidc_groups_prefix),
            signing_algs: self.oidc_signing_algs.list(),
            required_claims: required?,
        }))
    }

    /// What they say of authorization.
    ///
    /// # Errors
    /// They exclude each other.
    pub fn authorization(&self) -> anyhow::Result<authorization::Options> {
        let modes = self.authorization_mode.list();
        let webhook = given(&self.authorization_webhook_config_file);
        let older = !modes.is_empty()
            || webhook.is_some()
            || self.authorization_webhook_version.is_some()
            || self.authorization_webhook_cache_authorized_ttl.is_some()
            || self.authorization_webhook_cache_unauthorized_ttl.is_some();
        let config_file = given(&self.authorization_config);
        anyhow::ensure!(
            config_file.is_none() || !older,
            "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined"
        );
        let span = |of: Option<f64>, default: f64| seconds(of.unwrap_or(default));
        let options = authorization::Options {
            config_file: config_file.map(Into::into),
            webhook: webhook.map(|file| AuthorizationWebhook {
                config_file: file,
                version: (self.authorization_webhook_version.clone()).unwrap_or("v1beta1".into()),
                authorized_ttl: span(self.authorization_webhook_cache_authorized_ttl, 300.0),
                unauthorized_ttl: span(self.authorization_webhook_cache_unauthorized_ttl, 30.0),
            }),
            ..Default::default()
        };
        Ok(match modes.is_empty() {
            true => options,
            false => authorization::Options { modes, ..options },
        })
    }
}

fn given(text: &str) -> Option<String> {
    Some(text.to_string()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags;

    fn said(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|word| word.to_string()).collect();
        let command = flags::group::<Access>(clap::Command::new("server"));
        let command = command.mut_args(flags::as_pflag);
        let access: Access = flags::read(&words, command).unwrap().flags();
        let said = [access.authentication().err(), access.authorization().err()];
        let said: Vec<String> = said.iter().flatten().map(ToString::to_string).collect();
        said.join("; ")
    }

    #[test]
    fn flags_that_exclude_each_other() {
        for (words, wanted) in [
            (vec![], ""),
            (
                vec![
                    "--oidc-issuer-url=https://a",
                    "--oidc-client-id=b",
                    "--oidc-required-claim=c=d,e=f",
                ],
                "",
            ),
            (
                vec!["--oidc-groups-claim=a"],
                "oidc-issuer-url and oidc-client-id must be specified together when any oidc-* flags are set",
            ),
            (
                vec![
                    "--authentication-config=a",
                    "--oidc-issuer-url=https://a",
                    "--oidc-client-id=b",
                ],
                "authentication-config file and oidc-* flags are mutually exclusive",
            ),
            (
                vec![
                    "--oidc-issuer-url=https://a",
                    "--oidc-client-id=b",
                    "--oidc-required-claim=c",
                ],
                "malformed pair, expect string=string: c",
            ),
            (vec!["--authorization-config=a"], ""),
            (
                vec![
                    "--authorization-config=a",
                    "--authorization-webhook-cache-authorized-ttl=5m",
                ],
                "--authorization-config can not be specified when --authorization-mode or --authorization-webhook-* flags are defined",
            ),
        ] {
            assert_eq!(said(&words), wanted, "{words:?}");
        }
    }
}
