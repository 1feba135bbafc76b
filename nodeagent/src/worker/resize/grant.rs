//! Whether the node grants what a running pod asks for now.
//!
//! Invariant: a pod goes on with what it was granted last until it is granted more; what waits is asked about again whenever room may have come free.
//! Follows `pkg/kubelet/allocation/allocation_manager.go`.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use skiff_podspec::qos::{Class, class};

use crate::{
    agent::context::Context,
    events::Type,
    pod::{
        allocation::Granted,
        handle::Handle,
        held::Held,
        names::{reference, spec},
        resize::message,
    },
    time,
};

/// How often those that wait are asked about, even if nothing is known to have come free.
const RETRY: Duration = Duration::from_secs(180);

/// Asks now and then, until the agent stops.
pub async fn keep(node: Arc<Context>) {
    loop {
        tokio::select! {
            () = time::sleep(RETRY) => retry(&node),
            () = node.stop.cancelled() => return,
        }
    }
}

/// Asks about all pods that want other resources than they were granted, in their order.
pub fn retry(node: &Context) {
    loop {
        let mut waiting: Vec<Arc<Handle>> = node
            .pods
            .read()
            .values()
            .filter(|handle| handle.wants_resize())
            .cloned()
            .collect();
        waiting.sort_by_cached_key(|handle| order(handle));
        let mut given_back = false;
        for handle in &waiting {
            given_back |= ask(node, handle);
        }
        // What one gives back another may get.
        if !given_back {
            return;
        }
    }
}

type Order = (bool, Reverse<i32>, bool, jiff::Timestamp);

/// Those first that do not want more; then by priority, by class, and by how long they wait.
fn order(handle: &Handle) -> Order {
    let desired = handle.desired();
    let since = handle
        .state
        .lock()
        .resize
        .pending()
        .and_then(|pending| pending.last_transition_time.as_ref().map(|at| at.0));
    let priority = spec(&desired).priority.unwrap_or(0);
    (
        wants_more(handle),
        Reverse(priority),
        class(&desired) != Ok(Class::Guaranteed),
        since.unwrap_or(jiff::Timestamp::MAX),
    )
}

fn wants_more(handle: &Handle) -> bool {
    let (Ok(now), Ok(then)) = (Held::of(&handle.pod()), Held::of(&handle.desired())) else {
        return true;
    };
    let of = |held: &Held, name: &str| held.amounts.get(name).copied().unwrap_or(0);
    ["cpu", "memory"]
        .iter()
        .any(|name| of(&then, name) > of(&now, name))
}

/// Asks about one pod. Whether it gave something back.
fn ask(node: &Context, handle: &Handle) -> bool {
    let desired = handle.desired();
    let Some(known) = node.nodes.get(&node.config.node_name) else {
        return false;
    };
    let generation = desired.metadata.generation;
    let gives = !wants_more(handle);
    let answer = node.allocations.add(&desired, &known);
    let refused = answer.is_err();
    let (event, type_, text) = match answer {
        Ok(()) => {
            if let Err(error) = handle.grant(&node.config, Granted::of(&desired)) {
                tracing::warn!(%error, "what the pod was granted is not noted down");
            }
            let resize = &mut handle.state.lock().resize;
            resize.clear_pending();
            resize.clear_in_progress();
            resize.set_in_progress("", "", generation);
            (
                "ResizeStarted",
                Type::Normal,
                message("Pod resize started", &desired, generation, ""),
            )
        }
        Err(rejection) => {
            let news = handle.state.lock().resize.set_pending(
                &rejection.reason,
                &rejection.message,
                generation,
            );
            if !news {
                return false;
            }
            (
                "ResizeDeferred",
                Type::Warning,
                message(
                    &format!("Pod resize {}", rejection.reason),
                    &desired,
                    generation,
                    &rejection.message,
                ),
            )
        }
    };
    node.events.record(reference(&desired), type_, event, text);
    handle.wake.notify_one();
    gives && !refused
}
