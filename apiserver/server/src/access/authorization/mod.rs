//! Who decides on requests, as a file (`--authorization-config`) or the older flags say it: modes and webhooks, in the order of asking.
//!
//! Invariant: a file that is followed is taken whole when it is right, and with it every mode that was there at first; until then those before it decide.
//! Follows `pkg/kubeapiserver/authorizer/{config,reload}.go` and `pkg/kubeapiserver/options/authorization.go`.

mod conditions;
mod config;
mod validation;
mod webhook;

use std::{collections::HashSet, path::PathBuf, sync::Arc};

use skiff_api::machinery::field::Errors;
use skiff_api::machinery::quote::GoQuoted;
use tokio_util::sync::CancellationToken;

pub use config::AuthorizationWebhook;
use config::{AuthorizationConfiguration, KIND, WEBHOOK};

use super::kubeconfig::KubeconfigError;
use crate::{
    auth::authorize::{self, Authorizers, Mode, ModeError, Step},
    config_file::{self as file, FileError},
    dial::Behind,
};

/// What the command line says.
#[derive(Clone, Debug)]
pub struct Options {
    /// `--authorization-config`; the rest counts where it is not given.
    pub config_file: Option<PathBuf>,
    /// `--authorization-mode`.
    pub modes: Vec<String>,
    pub webhook: Option<AuthorizationWebhook>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            config_file: None,
            modes: vec!["Node".into(), "RBAC".into()],
            webhook: None,
        }
    }
}

#[derive(thiserror::Error, Debug)]
pub enum Error {
    #[error(transparent)]
    Mode(#[from] ModeError),
    #[error("authorization-mode Webhook's authorization config file not passed")]
    NoWebhook,
    #[error("cannot specify --authorization-webhook-config-file without mode Webhook")]
    NoMode,
    #[error("failed to load AuthorizationConfiguration from file: {0}")]
    File(FileError),
    #[error("{}", .0.message())]
    Invalid(Errors),
    #[error("{}", .0.join(", "))]
    Names(Vec<String>),
    #[error("authorizer {name}: {error}", name = GoQuoted(.name))]
    Kubeconfig {
        name: String,
        error: KubeconfigError,
    },
    #[error(
        "authorizer {}: connectionInfo.type InClusterConfig is not supported: name a kubeconfig",
        GoQuoted(.0)
    )]
    InCluster(String),
    #[error(
        "unsupported webhook authorizer version {}, supported versions are \"v1\", \"v1beta1\"",
        GoQuoted(.0)
    )]
    Version(String),
    #[error("authorizer type {0} is not allowed if it was not enabled at initial server startup")]
    Late(String),
}

/// What is asked, and what is to be followed.
pub struct Opened {
    pub steps: Vec<Step>,
    followed: Option<Followed>,
}

/// A file and what it says.
struct Followed {
    file: file::Followed,
    /// The modes that it began with.
    first: HashSet<String>,
    config: AuthorizationConfiguration,
    behind: Option<Behind>,
}

/// Reads what is configured.
///
/// # Errors
/// It is not right.
pub fn open(options: &Options, behind: Option<&Behind>) -> Result<Opened, Error> {
    let Some(path) = &options.config_file else {
        let config = of_flags(options)?;
        return Ok(Opened {
            steps: steps(&config, behind, None)?,
            followed: None,
        });
    };
    let data = file::read(path).map_err(Error::File)?;
    let config = read(&data, &[])?;
    let local = (config.authorizers.iter()).filter(|one| one.kind != WEBHOOK);
    Ok(Opened {
        steps: steps(&config, behind, None)?,
        followed: Some(Followed {
            file: file::Followed::new(path.clone(), data),
            first: local.map(|one| one.kind.clone()).collect(),
            config,
            behind: behind.cloned(),
        }),
    })
}

fn of_flags(options: &Options) -> Result<AuthorizationConfiguration, Error> {
    let modes = &options.modes;
    let local: Vec<&str> = modes
        .iter()
        .map(String::as_str)
        .filter(|mode| *mode != WEBHOOK)
        .collect();
    if !local.is_empty() || modes.is_empty() {
        authorize::modes(&local)?;
    }
    match modes.len() - local.len() {
        0 if options.webhook.is_some() => return Err(Error::NoMode),
        1 if options.webhook.is_none() => return Err(Error::NoWebhook),
        0 | 1 => {}
        _ => return Err(ModeError::twice(modes).into()),
    }
    let webhook = options.webhook.clone().unwrap_or_default();
    Ok(AuthorizationConfiguration::of_flags(modes, &webhook))
}

/// What a file says that has these types at the least.
fn read(data: &[u8], needed: &[String]) -> Result<AuthorizationConfiguration, Error> {
    let config: AuthorizationConfiguration = file::decode(data, &KIND).map_err(Error::File)?;
    let config = config.defaulted();
    let errors = validation::configuration(&config);
    if !errors.is_empty() {
        return Err(Error::Invalid(errors));
    }
    let wrong = validation::names(&config, needed);
    match wrong.is_empty() {
        true => Ok(config),
        false => Err(Error::Names(wrong)),
    }
}

/// `first`: what was configured at first, where this is not it.
fn steps(
    config: &AuthorizationConfiguration,
    behind: Option<&Behind>,
    first: Option<&HashSet<String>>,
) -> Result<Vec<Step>, Error> {
    let each = config.authorizers.iter().map(|one| match &one.webhook {
        Some(asked) => {
            let webhook = webhook::Webhook::new(&one.name, asked, behind.cloned())?;
            Ok(Step::Remote(Arc::new(webhook)))
        }
        None => {
            let mode: Mode = one.kind.parse()?;
            let late = matches!(mode, Mode::Node | Mode::Rbac)
                && first.is_some_and(|first| !first.contains(&one.kind));
            match late {
                true => Err(Error::Late(one.kind.clone())),
                false => Ok(Step::Mode(mode)),
            }
        }
    });
    each.collect()
}

impl Opened {
    /// Whether a mode is on.
    pub fn has(&self, mode: Mode) -> bool {
        let is = |step: &Step| matches!(step, Step::Mode(one) if *one == mode);
        self.steps.iter().any(is)
    }

    /// Follows the file, if there is one, and has `authorizers` ask whom it names.
    pub fn follow(self, authorizers: Authorizers, stop: &CancellationToken) {
        if let Some(followed) = self.followed {
            skiff_watching::task::spawn(followed.follow(authorizers, stop.clone()));
        }
    }
}

impl Followed {
    async fn follow(mut self, authorizers: Authorizers, stop: CancellationToken) {
        while let Some(data) = self.file.changed(&stop).await {
            match self.take(&data, &authorizers) {
                Ok(()) => tracing::info!("reloaded authz config"),
                Err(why) => tracing::error!("reloading authorization config: {why}"),
            }
            self.file.settle(data);
        }
    }

    fn take(&mut self, data: &[u8], authorizers: &Authorizers) -> Result<(), Error> {
        let needed: Vec<String> = self.first.iter().cloned().collect();
        let config = read(data, &needed)?;
        if config != self.config {
            let steps = steps(&config, self.behind.as_ref(), Some(&self.first))?;
            authorizers.replace(&steps);
            self.config = config;
        }
        Ok(())
    }
}
