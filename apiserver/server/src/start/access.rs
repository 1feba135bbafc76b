//! Who asks and who may, as a server begins to know it.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::{Config, StartError};
use crate::{
    access::{authentication, authorization},
    auth::{
        Objects,
        authenticate::{self, Anonymous, Authenticator, FrontProxies, service_account::Issuer},
        authorize::{Authorizers, Mode},
        pki::{self, Pki},
    },
};

/// Who is who, who makes tokens of service accounts, and who may what.
pub fn open(
    config: &Config,
    pki: &Pki,
    objects: Arc<dyn Objects>,
    stop: &CancellationToken,
) -> Result<(Authenticator, Issuer, Authorizers), StartError> {
    let decides = authorization::open(&config.authorization, config.behind.as_ref())?;
    let all_allowed = decides.has(Mode::AlwaysAllow);
    let (authenticator, issuer) = authenticator(config, pki, objects.clone(), all_allowed, stop)?;
    let authorizers = Authorizers::new(&decides.steps, objects);
    decides.follow(authorizers.clone(), stop);
    Ok((authenticator, issuer, authorizers))
}

/// Whoever may do anything must at least be known.
fn anonymous(wanted: Anonymous, all_allowed: bool) -> Anonymous {
    if wanted == Anonymous::No || !all_allowed {
        return wanted;
    }
    tracing::warn!(
        "AnonymousAuth is not allowed with the AlwaysAllow authorizer. Resetting AnonymousAuth to false. You should use a different authorizer"
    );
    Anonymous::No
}

fn authenticator(
    config: &Config,
    pki: &Pki,
    objects: Arc<dyn Objects>,
    all_allowed: bool,
    stop: &CancellationToken,
) -> Result<(Authenticator, Issuer), StartError> {
    let key = match &config.service_account_signing_key_file {
        Some(path) => pki::read_signing_key(path)?,
        None => pki::read_signing_key(&config.cert_dir.join("sa.key"))?,
    };
    let issuers = vec![config.service_account_issuer.clone()];
    let published = pki::read_public_keys(&config.service_account_key_files)?;
    let issuer = Issuer::new(
        key,
        published,
        config.service_account_issuer.clone(),
        issuers.clone(),
    )
    .with_jwks_uri(config.service_account_jwks_uri.clone());
    let here = authentication::Surroundings {
        audiences: issuers.clone(),
        issuers: issuers.clone(),
        clock: config.clock.shared(),
        behind: config.behind.clone(),
    };
    let others = authentication::open(&config.authentication, &here, stop)?;
    let wanted = others
        .anonymous
        .unwrap_or(match config.authentication.anonymous {
            Some(false) => Anonymous::No,
            _ => Anonymous::Yes,
        });
    let authentication = authenticate::Config {
        client_ca: Some(pki.client_ca.clone()),
        front_proxies: Some(FrontProxies {
            ca: pki.front_proxy_ca.clone().into_bytes(),
            names: vec![pki::FRONT_PROXY_CLIENT.to_owned()],
        }),
        token_file: config.token_file.clone(),
        service_account_keys: issuer.keys().to_vec(),
        issuers: issuers.clone(),
        audiences: issuers,
        lookup: true,
        bootstrap_tokens: config.bootstrap_tokens,
        anonymous: anonymous(wanted, all_allowed),
        remote: others.remote,
    };
    let authenticator = Authenticator::new(authentication, objects, config.clock.shared())?;
    Ok((authenticator, issuer))
}
