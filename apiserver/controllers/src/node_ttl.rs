//! The TTL controller: notes on every node for how long its agent may keep secrets and config maps before reading them anew.
//!
//! Invariant: the more nodes, the longer; the steps up and down differ so that it does not flap. Follows
//! pkg/controller/ttl/ttl_controller.go.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::{
    api::{Api, PatchType, item},
    error::{Error, unless_gone},
    informer::{Change, Informer},
    key::Key,
    list::Work,
    runner::{Context, Next, Reconcile},
};

const ANNOTATION: &str = "node.alpha.kubernetes.io/ttl";
/// From so many nodes, up to so many, this many seconds.
const STEPS: [(usize, usize, u32); 5] = [
    (0, 100, 0),
    (90, 500, 15),
    (450, 1000, 30),
    (900, 2000, 60),
    (1800, usize::MAX, 300),
];

struct Controller {
    api: Api,
    nodes: Informer<Node>,
    step: AtomicUsize,
}

/// `ttl-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let queue = context.queue::<Key>();
    let controller = Arc::new(Controller {
        api: context.api.clone(),
        nodes: context.informer(),
        step: AtomicUsize::new(0),
    });
    let (q, watcher) = (queue.clone(), controller.clone());
    controller.nodes.subscribe(move |change| {
        if !matches!(change, Change::Updated { .. }) {
            let step = step(watcher.step.load(Ordering::Relaxed), watcher.nodes.len());
            if watcher.step.swap(step, Ordering::Relaxed) != step {
                watcher
                    .nodes
                    .list()
                    .iter()
                    .for_each(|node| q.add(Key::of(&node.metadata)));
            }
        }
        q.add(Key::of(&change.object().metadata));
    });
    Ok(Some(context.some_workers(1, controller, queue)))
}

/// The step for this many nodes, coming from another.
fn step(mut at: usize, nodes: usize) -> usize {
    while at > 0 && nodes < STEPS[at].0 {
        at -= 1;
    }
    while at + 1 < STEPS.len() && nodes > STEPS[at].1 {
        at += 1;
    }
    at
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "ttl-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(node) = self.nodes.get(key) else {
            return Ok(Next::DONE);
        };
        let seconds = STEPS[self.step.load(Ordering::Relaxed)].2.to_string();
        if node
            .metadata
            .annotations
            .as_ref()
            .and_then(|a| a.get(ANNOTATION))
            != Some(&seconds)
        {
            let patch = json!({"metadata": {"annotations": {ANNOTATION: seconds}}});
            unless_gone(
                self.api
                    .patch(&item::<Node>("", key.name()), PatchType::Strategic, &patch)
                    .await,
            )?;
        }
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_do_not_flap() {
        for (from, nodes, to) in [
            (0, 100, 0),
            (0, 101, 1),
            (1, 95, 1),
            (1, 89, 0),
            (0, 1500, 3),
            (4, 3, 0),
            (4, 99_999, 4),
        ] {
            assert_eq!(step(from, nodes), to, "{nodes} nodes from step {from}");
        }
    }
}
