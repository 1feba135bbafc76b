//! The controller manager: what turns the desired state into the actual one, one controller a file or folder.
//!
//! Invariant: controllers write through an `Api` only, and share one cache a kind. Follows cmd/kube-controller-manager.
//!
//! # A new controller
//!
//! 1. Copy `serviceaccount.rs` (one file, two kinds) to `<name>.rs`. What it names comes from `prelude`; a struct holds what it needs: the API as its
//!    own account, and of each kind `context.informer()` (it reads) or `context.fresh()` (it writes, too, and must not read what is older than that).
//! 2. `start` wires it (`wiring.rs`): `let c = context.wire(Controller { … })`, then what it watches and which keys a change means (`c.each(&c.kind)`,
//!    `c.on(&c.kind, |c, change, queue| …)`), and last `Ok(c.workers())`. What has no keys but a period uses `runner::every` instead (`node_lifecycle`
//!    has both). `Ok(None)` says that the options leave it nothing to do.
//! 3. `Reconcile` is a page of prose: fetch, early exits, one call a decision. Decisions are pure functions in a file of their own, told by a table of
//!    cases (`cronjob/decide.rs`, `volume/fate.rs`). An error is returned and its key is tried again with back-off.
//! 4. One line in `list.rs`, below the module's name in its `use`: the name in `--controllers`, the older name, the account it writes as, and `start`;
//!    and in lib.rs its `mod`.
//! 5. The account's rights: a cluster role `system:controller:<account>` in the server's `auth/authorize/bootstrap`; a test there fails while it is missing.
//!    A kind that nobody cached yet is one word in `skiff_watching`'s `informer/cached.rs`.
//! 6. What controllers of owners share (hearing of dependents, adopting and releasing them, making pods as expected) is in `dependents.rs`; what wants to
//!    be seen from outside is tried against a running server in `server/tests/controllers`.
//!
//! A module may only use those that do not use it: `tests/modules.rs` says so.

#[macro_use]
mod failed;

mod dependents;
mod discovery;
mod expectations;
mod hash;
pub mod list;
mod options;
mod owners;
mod pace;
mod pods;
mod prelude;
pub mod quota;
mod runner;
mod wiring;

pub mod bootstrap_tokens;
mod certificates;
mod clusterrole_aggregation;
mod cronjob;
mod daemonset;
mod deployment;
mod disruption;
mod endpoints;
mod endpointslice;
mod endpointslice_mirroring;
mod fraction;
mod gc;
mod history;
pub mod horizontalpodautoscaler;
mod job;
mod legacy_token_cleaner;
mod namespace;
mod node_ipam;
mod node_lifecycle;
mod node_ttl;
mod pod_gc;
mod replicaset;
mod root_ca;
mod service_cidr;
mod service_pods;
mod serviceaccount;
mod serviceaccount_tokens;
mod statefulset;
mod subsets;
mod taint_eviction;
mod ttl_after_finished;
mod validatingadmissionpolicy_status;
mod volume;

use std::sync::Arc;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;

pub use list::{check, enabled, known};
pub use options::{NodeMaskSizes, Options, Signer, TokenSigner};
pub use skiff_watching::{Error, api, clock, error, events, informer, key, queue, reflect};

use crate::{api::Api, events::Events, informer::Informers, runner::Context};

/// The API as a service account of kube-system, by its name.
pub type Accounts = Arc<dyn Fn(&'static str) -> Api + Send + Sync>;

/// Starts all enabled controllers; what it returns lasts until `stop`. Fails when the options cannot be used.
/// They read from `informers`, which may be shared, and write as accounts of their own; events are written through `api`.
pub fn start(
    api: Api,
    accounts: Accounts,
    informers: Informers,
    options: Options,
    stop: CancellationToken,
) -> Result<impl Future<Output = ()> + Send + use<>, Error> {
    check(&options)?;
    let options = Arc::new(options);
    let events = Events::start(api.clone(), options.clock.clone(), stop.clone());
    let mut running = Vec::new();
    for controller in list::CONTROLLERS
        .iter()
        .filter(|c| enabled(c.name, &options))
    {
        let own = match controller.account {
            "" => api.clone(),
            account => accounts(account),
        };
        let context = Context::new(
            own,
            api.clone(),
            informers.clone(),
            events.clone(),
            options.clone(),
            stop.clone(),
        );
        let Some(work) = (controller.start)(&context)? else {
            continue;
        };
        let synced = context.synced();
        running.push(skiff_watching::task::spawn(async move {
            if synced.await {
                work.await;
            }
        }));
    }
    informers.start();
    Ok(async {
        join_all(running).await;
    })
}
