//! What a cluster cannot be without comes back while the server runs: the service `kubernetes` and where it leads, the system's namespaces, how API servers
//! behind this one know whom it speaks for, and since when old tokens are tracked.
//!
//! Invariant: what is as it should be is not written; what could not be done is told of, and tried when its time comes again. Roles, priority classes and
//! the APIServices of built-in groups are looked after when a server starts and not again, as upstream's are.
//! Follows `pkg/controlplane/controller/{kubernetesservice,systemnamespaces,clusterauthenticationtrust,legacytokentracking}`.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use serde_json::Value;
use skiff_api::machinery::{meta::Meta, status::Status};
use skiff_storage::{Error, Interest};
use tokio_util::sync::CancellationToken;

use crate::{bootstrap, legacy_tokens, own::Own, write::Writer};

const KUBERNETES: Duration = Duration::from_secs(10);
const NAMESPACES: Duration = Duration::from_secs(60);
const TRUST: Duration = Duration::from_secs(60);
/// Upstream makes that map again this often at the most.
const TRACKING: Duration = Duration::from_secs(30 * 60);

type Done<'a> = BoxFuture<'a, Result<(), Status>>;

/// What is looked after, and how often.
pub struct Step {
    /// The check that tells whether it is.
    pub hook: &'static str,
    what: &'static str,
    every: Duration,
    work: Box<dyn for<'a> Fn(&'a Own) -> Done<'a> + Send + Sync>,
}

/// All that is looked after by the clock; `advertised` is where the service `kubernetes` leads.
pub fn steps(advertised: Vec<SocketAddr>) -> [Step; 3] {
    let advertised: Arc<[SocketAddr]> = advertised.into();
    [
        Step {
            hook: "poststarthook/bootstrap-controller",
            what: "the service kubernetes",
            every: KUBERNETES,
            work: Box::new(move |own| {
                let advertised = advertised.clone();
                Box::pin(async move { bootstrap::kubernetes_service(own, &advertised).await })
            }),
        },
        Step {
            hook: "poststarthook/start-system-namespaces-controller",
            what: "the system's namespaces",
            every: NAMESPACES,
            work: Box::new(|own| Box::pin(bootstrap::namespaces(own))),
        },
        Step {
            hook: "poststarthook/start-legacy-token-tracking-controller",
            what: "the tracking of old tokens",
            every: TRACKING,
            work: Box::new(|own| Box::pin(legacy_tokens::track(own))),
        },
    ]
}

impl Step {
    /// Does it again and again, until `stopping`.
    pub async fn run(self, writer: Arc<Writer>, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = writer.core.clock.sleep(self.every) => {}
                () = stopping.cancelled() => return,
            }
            tell(self.what, (self.work)(&Own::new(&writer)).await);
        }
    }
}

fn tell(what: &str, done: Result<(), Status>) {
    if let Err(status) = done {
        tracing::error!("cannot look after {what}: {}", status.message);
    }
}

/// Keeps the map of whom this server speaks for: at once when somebody changes or deletes it, and every minute.
pub async fn trust(writer: Arc<Writer>, map: Value, stopping: CancellationToken) {
    let interest = Interest::default()
        .in_namespace(map.namespace())
        .named(map.name());
    let store = &writer.core.store;
    loop {
        let watch = store.watch_some("configmaps", store.revision(), interest.clone());
        let done = Own::new(&writer).put("configmaps", map.clone()).await;
        tell("extension-apiserver-authentication", done);
        let changed = async {
            match watch {
                Ok(mut watch) => watch.next_batch().await.map(drop),
                Err(error) => Err(error),
            }
        };
        tokio::select! {
            changed = changed => if let Err(Error::Closed) = changed { return },
            () = writer.core.clock.sleep(TRUST) => {}
            () = stopping.cancelled() => return,
        }
    }
}
