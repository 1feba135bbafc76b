//! The scheduler: gives every pod that waits a node. A queue, a cycle, plugins at upstream's extension points, all over the shared caches.
//!
//! Invariant: one task owns cache and queue; a pod that was given a node counts there at once, before the API has it (assumed), and is taken
//! back when the binding fails. Follows `pkg/scheduler/{scheduler,schedule_one}.go`.
//!
//! # A new plugin
//!
//! 1. Copy `plugins/node_unschedulable.rs` (it filters) or `plugins/image_locality.rs` (it scores) to `plugins/<name>.rs` and implement
//!    `framework::Plugin`: its name, which events let a pod hope that it kept off (`hopes`), and the points it fills: `pre_filter` looks at the pod
//!    once, `filter` at one node, `change` hears of pods that are thought to come or go, `pre_score`, `score` and `normalize` compare nodes where `weight`
//!    is not 0. Plugins are pure: they see a `View` and their own part of the `State`.
//! 2. What it found out about a pod and needs again is a field of `State` in `plugins/mod.rs`, which no other plugin reads.
//! 3. In `plugins/mod.rs` its `mod` and one line in `PLUGINS`, in upstream's order; `run.rs` asks them in that order.
//! 4. What it needs to know of the cluster beyond nodes and pods is a variant of `heard::Heard`, followed in [`run()`], and a field of `View`.
//! 5. Its cases are a table: `plugins/tests.rs` has a small cluster and tables for filters and scores.
//!
//! Layers, lowest first: `terms`, `volumes`, `resources`, `figures` · `pod`, `node`, `cache` · `framework` · `plugins` · `run` · `preemption`, `choose`, `queue` ·
//! `cycle`, `hearing`, `sending`. `tests/modules.rs` keeps them.

mod broken;
mod cache;
mod choose;
mod cycle;
mod diagnosis;
mod early;
mod events;
mod figures;
mod framework;
mod heard;
mod hearing;
mod node;
mod nominator;
mod options;
mod owners;
mod plugins;
mod pod;
mod preemption;
mod queue;
mod resources;
mod run;
mod sending;
mod tally;
mod terms;
mod volumes;

use futures::FutureExt;
use skiff_watching::{api::Api, informer::Informers};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::heard::{Heard, follow};
pub use crate::{figures::Figures, options::Options, plugins::volume_binding::is_allowed};

/// Runs until `stop`: reads from `informers`, which may be shared, writes through `api`.
pub async fn run(api: Api, informers: Informers, options: Options, stop: CancellationToken) {
    let (tell, mut hear) = mpsc::unbounded_channel();
    let listed = futures::future::join_all([
        follow(&informers, &tell, Heard::Pod).boxed(),
        follow(&informers, &tell, Heard::Node).boxed(),
        follow(&informers, &tell, Heard::Claim).boxed(),
        follow(&informers, &tell, Heard::Volume).boxed(),
        follow(&informers, &tell, Heard::Class).boxed(),
        follow(&informers, &tell, Heard::DriversOfNode).boxed(),
        follow(&informers, &tell, Heard::Attachment).boxed(),
        follow(&informers, &tell, Heard::Driver).boxed(),
        follow(&informers, &tell, Heard::Capacity).boxed(),
        follow(&informers, &tell, Heard::Namespace).boxed(),
        follow(&informers, &tell, Heard::Service).boxed(),
        follow(&informers, &tell, Heard::Controller).boxed(),
        follow(&informers, &tell, Heard::Set).boxed(),
        follow(&informers, &tell, Heard::Stateful).boxed(),
        follow(&informers, &tell, Heard::Budget).boxed(),
    ]);
    informers.start();
    tokio::select! {
        () = stop.cancelled() => return,
        _ = listed => {}
    }
    let mut state = cycle::Scheduler::new(api, options, tell);
    loop {
        let due = state.next_due();
        let timer = async {
            match due {
                Some(at) => tokio::time::sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            Some(event) = hear.recv() => {
                state.hear(event);
                while let Ok(event) = hear.try_recv() {
                    state.hear(event);
                }
            }
            () = timer => state.wake(),
        }
        state.schedule_some();
        while state.has_active() {
            // between two rounds others may speak
            tokio::task::yield_now().await;
            while let Ok(event) = hear.try_recv() {
                state.hear(event);
            }
            state.schedule_some();
        }
    }
}
