//! The cleaner of bootstrap tokens: those that have expired are deleted.
//!
//! Invariant: only the secret that was looked at goes. Follows pkg/controller/bootstrap/tokencleaner.go.

use k8s_openapi::api::core::v1::Secret;

use super::{Life, is_token, life};
use crate::prelude::*;

struct Controller {
    api: Api,
    clock: Clock,
    secrets: Informer<Secret>,
}

/// `token-cleaner-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "token_cleaner",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            secrets: context.informer(),
        },
    );
    let is_there = |change: &Change<Secret>| {
        !matches!(change, Change::Deleted(_)) && is_token(change.object())
    };
    c.each_if(&c.secrets, is_there);
    Ok(c.some_workers(1))
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "token-cleaner-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(secret) = self.secrets.get(key).filter(|secret| is_token(secret)) else {
            return Ok(Next::DONE);
        };
        match life(&secret, self.clock.now()) {
            Life::Endless => Ok(Next::DONE),
            Life::Left(left) => Ok(Next::after(left)),
            Life::Over => {
                let options = Delete::of_uid(secret.metadata.uid());
                match self.api.delete::<Secret>(key, &options).await {
                    Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
                    _ => Ok(Next::DONE),
                }
            }
        }
    }
}
