//! The StatefulSet controller: pods with names and volumes that stay, made and ended in order.
//!
//! Invariant: at most one pod of a name at a time; in order, unless the set allows its pods to come and go together.
//! Follows pkg/controller/statefulset/stateful_set.go.

mod acts;
mod claims;
mod control;
mod identity;
mod revisions;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::PersistentVolumeClaim,
};
use skiff_podspec::pod::Pod;

use crate::{
    dependents::{self, Selecting, candidates, claimed},
    owners::claim_all,
    pace::{self, Pace},
    pods,
    prelude::*,
};

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    sets: Fresh<StatefulSet>,
    pods: Fresh<Pod>,
    claims: Fresh<PersistentVolumeClaim>,
    revisions: Fresh<ControllerRevision>,
    pace: Pace,
}

/// `statefulset-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "statefulset",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder("statefulset-controller"),
            sets: context.fresh(),
            pods: context.fresh(),
            claims: context.fresh(),
            revisions: context.fresh(),
            pace: Pace::new(context.clock.clone()),
        },
    );
    c.each(&c.sets);
    c.on(&c.pods, |c, change, queue| {
        drop(dependents::heard(&c.sets, change, &|key| queue.add(key)))
    });
    Ok(c.workers())
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "statefulset-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.sets.catch_up(key).await;
        self.pods.catch_up(key).await;
        self.claims.catch_up(key).await;
        self.revisions.catch_up(key).await;
        let Some(set) = self.sets.get(key) else {
            self.pace.forget(key);
            return Ok(Next::DONE);
        };
        let selector = set.selector()?;
        let revisions = claimed(&self.api, &*set, &selector, &self.revisions).await?;
        let is_member = |pod: &Pod| {
            selector.matches(&pod.metadata.labels.as_ref()) && identity::parent(pod) == key.name()
        };
        let pods = claim_all(&self.api, &*set, candidates(&*set, &self.pods), is_member).await?;
        let count = pods.len();
        let (status, complete) = self.update(key, &set, pods, revisions).await?;
        let min_ready = set.spec().min_ready_seconds.unwrap_or(0);
        let unripe = min_ready > 0 && status.available_replicas != status.ready_replicas;
        let again = if complete {
            unripe.then(|| pods::seconds(min_ready))
        } else {
            Some(pace::PAUSE)
        };
        Ok(Next::maybe_after(again).resting(count))
    }
}
