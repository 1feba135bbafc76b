//! The service account controller: every active namespace has a ServiceAccount named `default`.
//!
//! Invariant: it is made again at once when it is deleted. Follows pkg/controller/serviceaccount/serviceaccounts_controller.go.

use k8s_openapi::{
    api::core::v1::{Namespace, ServiceAccount},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use crate::prelude::*;

const DEFAULT: &str = "default";

struct Controller {
    api: Api,
    namespaces: Informer<Namespace>,
    accounts: Informer<ServiceAccount>,
}

/// `serviceaccount-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "serviceaccount",
        Controller {
            api: context.api.clone(),
            namespaces: context.informer(),
            accounts: context.informer(),
        },
    );
    c.each_there(&c.namespaces);
    c.on(&c.accounts, |_, change, queue| {
        if let Change::Deleted(account) = change
            && account.metadata.name() == DEFAULT
        {
            queue.add(Key::cluster(account.metadata.namespace()));
        }
    });
    Ok(c.some_workers(1))
}

/// Whether new things can be made in a namespace.
pub fn is_active(namespace: &Namespace) -> bool {
    namespace.metadata.deletion_timestamp.is_none()
        && namespace.status().phase.as_deref() == Some("Active")
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
