//! The service account controller: every active namespace has a ServiceAccount named `default`.
//!
//! Invariant: it is made again at once when it is deleted. Follows pkg/controller/serviceaccount/serviceaccounts_controller.go.

use std::sync::Arc;

use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::{
    api::Api,
    error::Error,
    informer::{Change, Informer},
    key::Key,
    list::Work,
    runner::{Context, Next, Reconcile},
};

const DEFAULT: &str = "default";

struct Controller {
    api: Api,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
}

/// `serviceaccount-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let queue = context.queue::<Key>();
    let controller = Arc::new(Controller {
        api: context.api.clone(),
        namespaces: context.informer(),
        accounts: context.informer(),
    });
    let q = queue.clone();
    controller.namespaces.subscribe(move |change| {
        if !matches!(change, Change::Deleted(_)) {
            q.add(Key::of(&change.object().metadata));
        }
    });
    let q = queue.clone();
    controller.accounts.subscribe(move |change| {
        if let Change::Deleted(account) = change
            && account.metadata.name.as_deref() == Some(DEFAULT)
        {
            q.add(Key::cluster(
                account.metadata.namespace.as_deref().unwrap_or(""),
            ));
        }
    });
    Ok(Some(context.some_workers(1, controller, queue)))
}

/// Whether new things can be made in a namespace.
pub fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
        && namespace.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Active")
}

/// Forgets the failures that mean that the namespace is on its way out.
pub fn unless_ending(result: Result<(), Error>) -> Result<(), Error> {
    match result {
        Err(e) if e.is_already_exists() || e.is_not_found() || e.is_namespace_terminating() => {
            Ok(())
        }
        other => other,
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "serviceaccount-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let active = self.namespaces.get(key).is_some_and(|ns| is_active(&ns));
        if active && self.accounts.get(&Key::new(key.name(), DEFAULT)).is_none() {
            let metadata = ObjectMeta {
                name: Some(DEFAULT.into()),
                namespace: Some(key.name().into()),
                ..Default::default()
            };
            unless_ending(
                self.api
                    .create_quietly(&ServiceAccount {
                        metadata,
                        ..Default::default()
                    })
                    .await
                    .map(drop),
            )?;
        }
        Ok(Next::DONE)
    }
}
