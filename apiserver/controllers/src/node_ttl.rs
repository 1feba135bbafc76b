//! The TTL controller: notes on every node for how long its agent may keep secrets and config maps before reading them anew.
//!
//! Invariant: the more nodes, the longer; the steps up and down differ so that it does not flap. Follows
//! pkg/controller/ttl/ttl_controller.go.

use std::sync::atomic::{AtomicUsize, Ordering};

use k8s_openapi::api::core::v1::Node;
use serde_json::json;

use crate::prelude::*;

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
    let c = context.wire(
        "ttlcontroller",
        Controller {
            api: context.api.clone(),
            nodes: context.informer(),
            step: AtomicUsize::new(0),
        },
    );
    c.each(&c.nodes);
    c.on(&c.nodes, |c, change, queue| {
        if !matches!(change, Change::Updated { .. }) {
            let step = step(c.step.load(Ordering::Relaxed), c.nodes.len());
            if c.step.swap(step, Ordering::Relaxed) != step {
                wake(queue, c.nodes.list());
            }
        }
    });
    Ok(c.some_workers(1))
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
        if node.metadata.annotation(ANNOTATION) != Some(seconds.as_str()) {
            let patch = json!({"metadata": {"annotations": {ANNOTATION: seconds}}});
            self.api
                .amend::<Node>(key, PatchType::Strategic, &patch)
                .await?;
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
