//! Tokens that others know: those of issuers (`--authentication-config`, `--oidc-*`), and those that a webhook is asked about.
//!
//! Invariant: a token of an issuer that is not configured is not this one's business. A file that is followed is taken when it is right and all its
//! issuers can be asked; until then those before it hold.
//! Follows `pkg/kubeapiserver/authenticator/config.go` and `pkg/kubeapiserver/options/authentication.go`.

mod claims;
mod config;
mod expressions;
mod issuer;
mod jws;
mod validation;
mod webhook;

use std::{path::PathBuf, sync::Arc, time::Duration};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{clock::SharedClock, field::Errors};
use tokio_util::sync::{CancellationToken, DropGuard};

pub use config::Oidc;
use config::{AnonymousAuthConfig, AuthenticationConfiguration};
use issuer::{Issuer, IssuerError};
use jws::{Algorithm, AlgorithmError};
pub use webhook::{TokenWebhook, VersionError};

use super::{cache::Cache, kubeconfig::KubeconfigError};
use crate::{
    auth::{
        Unauthorized,
        authenticate::{Anonymous, Holder, RemoteTokens},
    },
    config_file::{self as file, FileError, Followed},
    dial::Behind,
};

/// For how long a token is believed without a look at it.
const REMEMBERED: Duration = Duration::from_secs(10);
const MOST_REMEMBERED: usize = 4096;
/// How long the issuers of a changed file may take to be ready.
const READY: Duration = Duration::from_secs(60);

/// What the command line says.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// `--authentication-config`.
    pub config_file: Option<PathBuf>,
    pub oidc: Option<Oidc>,
    pub token_webhook: Option<TokenWebhook>,
    /// `--anonymous-auth`, where it is given.
    pub anonymous: Option<bool>,
}

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error("failed to load authentication configuration from file {}: {error}", GoQuoted(&path.to_string_lossy()))]
    File { path: PathBuf, error: FileError },
    #[error("{0}")]
    Authorities(FileError),
    #[error("invalid authentication configuration: {}", .0.message())]
    Invalid(Errors),
    #[error(
        "anonymous: Forbidden: --anonymous-auth flag cannot be set when anonymous field is configured in authentication configuration file"
    )]
    AnonymousTwice,
    #[error(transparent)]
    Algorithm(#[from] AlgorithmError),
    #[error(transparent)]
    Issuer(#[from] IssuerError),
    #[error("authentication-token-webhook-config-file: {0}")]
    Webhook(KubeconfigError),
    #[error(transparent)]
    Version(#[from] VersionError),
}

/// Who is asked about tokens, and who may be nobody.
#[derive(Default)]
pub struct Opened {
    pub remote: Vec<Arc<dyn RemoteTokens>>,
    /// `None`: the configuration says nothing of it.
    pub anonymous: Option<Anonymous>,
}

/// What is here that the configuration hangs on.
#[derive(Clone)]
pub struct Surroundings {
    /// The API's own.
    pub audiences: Vec<String>,
    /// Those of service-account tokens, which nobody else may be.
    pub issuers: Vec<String>,
    pub clock: SharedClock,
    pub behind: Option<Behind>,
}

/// Reads what is configured, and begins to ask the issuers for their keys.
///
/// # Errors
/// What is configured is not right.
pub fn open(
    options: &Options,
    here: &Surroundings,
    stop: &CancellationToken,
) -> Result<Opened, Error> {
    let mut opened = Opened::default();
    if let Some(path) = &options.config_file {
        let failed = |error| Error::File {
            path: path.clone(),
            error,
        };
        let data = file::read(path).map_err(failed)?;
        let config: AuthenticationConfiguration =
            file::decode(&data, &config::KIND).map_err(failed)?;
        if options.anonymous.is_some() && config.anonymous.is_some() {
            return Err(Error::AnonymousTwice);
        }
        opened.anonymous = config.anonymous.as_ref().map(anonymous);
        // what upstream says of a file: any algorithm is right that a key has
        let (algorithms, first) = (Arc::from(Algorithm::ALL), config.anonymous.clone());
        let issuers = Issuers::new(config, algorithms, here.clone(), stop)?;
        let file = Followed::new(path.clone(), data);
        skiff_watching::task::spawn(issuers.clone().follow(file, first));
        opened.remote.push(issuers);
    } else if let Some(flags) = &options.oidc {
        let algorithms = flags.signing_algs.iter().map(|name| name.parse());
        let algorithms: Arc<[Algorithm]> = match flags.signing_algs.is_empty() {
            true => Arc::from([Algorithm::Rs256]),
            false => algorithms.collect::<Result<_, _>>()?,
        };
        let config = flags.configuration().map_err(Error::Authorities)?;
        let issuers = Issuers::new(config, algorithms, here.clone(), stop)?;
        opened.remote.push(issuers);
    }
    if let Some(options) = &options.token_webhook {
        opened
            .remote
            .push(Arc::new(webhook::Webhook::new(options, here)?));
    }
    Ok(opened)
}

fn anonymous(config: &AnonymousAuthConfig) -> Anonymous {
    match (config.enabled, config.conditions.as_slice()) {
        (false, _) => Anonymous::No,
        (true, []) => Anonymous::Yes,
        (true, some) => Anonymous::Paths(some.iter().map(|one| one.path.clone()).collect()),
    }
}

/// The issuers that are believed now.
struct Issuers {
    now: ArcSwap<Set>,
    algorithms: Arc<[Algorithm]>,
    here: Surroundings,
    stop: CancellationToken,
}

struct Set {
    issuers: Vec<Arc<Issuer>>,
    known: Cache<[u8; 32], Remembered>,
    /// Ends the asking of those who are not ready.
    _asking: DropGuard,
}

#[derive(Clone)]
struct Remembered {
    holder: Holder,
    /// In seconds since 1970.
    until: i64,
}

impl Issuers {
    fn new(
        config: AuthenticationConfiguration,
        algorithms: Arc<[Algorithm]>,
        here: Surroundings,
        stop: &CancellationToken,
    ) -> Result<Arc<Issuers>, Error> {
        let first = Set::new(config, &algorithms, &here, stop)?;
        Ok(Arc::new(Issuers {
            now: ArcSwap::from_pointee(first),
            algorithms,
            here,
            stop: stop.clone(),
        }))
    }

    /// Takes what the file says whenever it changes.
    async fn follow(self: Arc<Issuers>, mut file: Followed, first: Option<AnonymousAuthConfig>) {
        while let Some(data) = file.changed(&self.stop).await {
            if self.take(&data, first.as_ref()).await {
                file.settle(data);
            }
        }
    }

    /// Takes what a file says; false: it may be taken when it is tried the next time.
    async fn take(&self, data: &[u8], first: Option<&AnonymousAuthConfig>) -> bool {
        let config: AuthenticationConfiguration = match file::decode(data, &config::KIND) {
            Ok(config) => config,
            Err(why) => {
                tracing::error!("failed to load authentication config: {why}");
                return true;
            }
        };
        if config.anonymous.as_ref() != first {
            tracing::error!(
                "failed to validate authentication config: anonymous: Forbidden: changed from initial configuration file"
            );
            return true;
        }
        let set = match Set::new(config, &self.algorithms, &self.here, &self.stop) {
            Ok(set) => set,
            Err(why) => {
                tracing::error!("failed to validate authentication config: {why}");
                return true;
            }
        };
        let ready = tokio::time::timeout(READY, set.ready()).await;
        if ready.is_err() {
            let unready = set.issuers.iter().filter_map(|issuer| issuer.unready());
            let why = unready.collect::<Vec<_>>().join(", ");
            tracing::error!("failed to update authentication config: {why}");
            // they may be ready then
            return false;
        }
        self.now.store(Arc::new(set));
        tracing::info!("reloaded authentication config");
        true
    }
}

impl Set {
    fn new(
        config: AuthenticationConfiguration,
        algorithms: &Arc<[Algorithm]>,
        here: &Surroundings,
        stop: &CancellationToken,
    ) -> Result<Set, Error> {
        let mappers = validation::configuration(&config, &here.issuers).map_err(Error::Invalid)?;
        let asking = stop.child_token();
        let mut issuers = Vec::with_capacity(mappers.len());
        for (config, mapper) in config.jwt.into_iter().zip(mappers) {
            let issuer = Issuer::new(config, mapper, algorithms.clone(), here.clock.clone())?;
            issuers.push(Arc::new(issuer));
        }
        for issuer in &issuers {
            skiff_watching::task::spawn(issuer.clone().discover(asking.clone()));
        }
        Ok(Set {
            issuers,
            known: Cache::new(MOST_REMEMBERED),
            _asking: asking.drop_guard(),
        })
    }

    /// Returns when all issuers are ready.
    async fn ready(&self) {
        const LOOK: Duration = Duration::from_millis(50);
        while self.issuers.iter().any(|one| one.unready().is_some()) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[async_trait]
impl RemoteTokens for Issuers {
    async fn holder(
        &self,
        token: &str,
        audiences: &[String],
    ) -> Result<Option<Holder>, Unauthorized> {
        // issuers know nothing of the API's audiences: their tokens are for its own
        let own = &self.here.audiences;
        let shared: Vec<String> = own
            .iter()
            .filter(|one| audiences.contains(one))
            .cloned()
            .collect();
        if shared.is_empty() && !own.is_empty() {
            return Ok(None);
        }
        let set = self.now.load_full();
        if set.issuers.is_empty() {
            return Ok(None);
        }
        let key: [u8; 32] = Sha256::digest(token).into();
        let now = self.here.clock.now().as_second();
        if let Some(known) = set.known.get(&key).filter(|known| now <= known.until) {
            return Ok(Some(Holder {
                audiences: shared,
                ..known.holder
            }));
        }
        let Some(url) = jws::untrusted_issuer(token) else {
            return Ok(None);
        };
        let Some(issuer) = set.issuers.iter().find(|issuer| issuer.url() == url) else {
            return Ok(None);
        };
        let (user, until) = issuer.user(token).await?;
        let holder = Holder {
            user,
            audiences: shared,
            warnings: Vec::new(),
        };
        let remembered = Remembered {
            holder: holder.clone(),
            until,
        };
        set.known.put(key, remembered, REMEMBERED);
        Ok(Some(holder))
    }
}
