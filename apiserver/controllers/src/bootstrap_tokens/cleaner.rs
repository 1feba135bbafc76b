//! The cleaner of bootstrap tokens: those that have expired are deleted.
//!
//! Invariant: only the secret that was looked at goes. Follows pkg/controller/bootstrap/tokencleaner.go.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Secret;

use super::{Life, is_token, key_of, life};
use crate::{
    api::{Api, Delete},
    clock::Clock,
    error::Error,
    informer::{Change, Informer},
    key::Key,
    list::Work,
    runner::{Context, Next, Reconcile},
};

struct Controller {
    api: Api,
    clock: Clock,
    secrets: Informer<Secret>,
}

/// `token-cleaner-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let queue = context.queue::<Key>();
    let controller = Arc::new(Controller {
        api: context.api.clone(),
        clock: context.clock.clone(),
        secrets: context.informer(),
    });
    let q = queue.clone();
    controller.secrets.subscribe(move |change| {
        if !matches!(change, Change::Deleted(_)) && is_token(change.object()) {
            q.add(key_of(change.object()));
        }
    });
    Ok(Some(context.some_workers(1, controller, queue)))
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
                let options = Delete::of_uid(secret.metadata.uid.as_deref().unwrap_or(""));
                match self.api.delete::<Secret>(key, &options).await {
                    Err(error) if !error.is_not_found() && !error.is_conflict() => Err(error),
                    _ => Ok(Next::DONE),
                }
            }
        }
    }
}
