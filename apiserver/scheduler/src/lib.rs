//! The scheduler: gives every pod that waits a node. A queue, a cycle, plugins at upstream's extension points, all over the shared caches.
//!
//! Invariant: one task owns cache and queue; a pod that was given a node counts there at once, before the API has it (assumed), and is taken
//! back when the binding fails. Follows `pkg/scheduler/{scheduler,schedule_one}.go`.

mod broken;
mod cache;
mod choose;
mod cycle;
mod diagnosis;
mod events;
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
pub use crate::options::Options;

/// Runs until `stop`: reads from `informers`, which may be shared, writes through `api`.
pub async fn run(api: Api, informers: Informers, options: Options, stop: CancellationToken) {
    let (tell, mut hear) = mpsc::unbounded_channel();
    let listed = futures::future::join_all([
        follow(&informers, &tell, Heard::Pod).boxed(),
        follow(&informers, &tell, Heard::Node).boxed(),
        follow(&informers, &tell, Heard::Claim).boxed(),
        follow(&informers, &tell, Heard::Volume).boxed(),
        follow(&informers, &tell, Heard::Class).boxed(),
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
