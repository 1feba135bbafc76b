//! The StatefulSet controller: pods with names and volumes that stay, made and ended in order.
//!
//! Invariant: at most one pod of a name at a time; in order, unless the set allows its pods to come and go together.
//! Follows pkg/controller/statefulset/stateful_set.go.

mod claims;
mod control;
mod identity;

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{PersistentVolumeClaim, Pod},
};

use crate::{
    api::Api,
    clock::Clock,
    error::Error,
    events::Recorder,
    expectations::Wrote,
    informer::{Change, Informer},
    key::Key,
    labels::Selector,
    list::Work,
    owners::{claim_all, controller_of},
    pace::{self, Pace},
    pods,
    queue::Queue,
    runner::{Context, Next, Reconcile},
};

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    sets: Informer<StatefulSet>,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
    revisions: Informer<ControllerRevision>,
    wrote: Wrote,
    wrote_pods: Wrote,
    wrote_claims: Wrote,
    wrote_revisions: Wrote,
    pace: Pace,
}

/// `statefulset-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let queue = context.queue::<Key>();
    let controller = Arc::new(Controller {
        api: context.api.clone(),
        clock: context.clock.clone(),
        recorder: context.recorder("statefulset-controller"),
        sets: context.informer(),
        pods: context.informer(),
        claims: context.informer(),
        revisions: context.informer(),
        wrote: Wrote::default(),
        wrote_pods: Wrote::default(),
        wrote_claims: Wrote::default(),
        wrote_revisions: Wrote::default(),
        pace: Pace::new(context.clock.clone()),
    });
    let q = queue.clone();
    controller
        .sets
        .subscribe(move |change| q.add(Key::of(&change.object().metadata)));
    let (q, watcher) = (queue.clone(), controller.clone());
    controller
        .pods
        .subscribe(move |change| watcher.pod_changed(change, &q));
    Ok(Some(context.workers(controller, queue)))
}

fn selector_of(set: &StatefulSet) -> Result<Selector, Error> {
    Selector::of(set.spec.as_ref().map(|s| &s.selector))
}

impl Controller {
    fn owner(&self, pod: &Pod) -> Option<Key> {
        let owner = controller_of(&pod.metadata).filter(|r| r.kind == "StatefulSet")?;
        let key = Key::new(pod.metadata.namespace.as_deref().unwrap_or(""), &owner.name);
        (self.sets.get(&key)?.metadata.uid.as_ref() == Some(&owner.uid)).then_some(key)
    }

    fn pod_changed(&self, change: &Change<Pod>, queue: &Queue<Key>) {
        let pod = change.object();
        if let Change::Updated { old, new } = change
            && controller_of(&old.metadata) != controller_of(&new.metadata)
            && let Some(key) = self.owner(old)
        {
            queue.add(key);
        }
        if controller_of(&pod.metadata).is_some() {
            if let Some(key) = self.owner(pod) {
                queue.add(key);
            }
        } else if !matches!(change, Change::Deleted(_)) {
            for set in self
                .sets
                .in_namespace(pod.metadata.namespace.as_deref().unwrap_or(""))
            {
                if selector_of(&set)
                    .is_ok_and(|s| !s.is_everything() && s.matches(pod.metadata.labels.as_ref()))
                {
                    queue.add(Key::of(&set.metadata));
                }
            }
        }
    }

    /// Waits until the caches show what this controller wrote for the set.
    async fn catch_up(&self, key: &Key) {
        if let Some(version) = self.wrote.take(key) {
            self.sets.reach(version, &self.clock).await;
        }
        if let Some(version) = self.wrote_pods.take(key) {
            self.pods.reach(version, &self.clock).await;
        }
        if let Some(version) = self.wrote_claims.take(key) {
            self.claims.reach(version, &self.clock).await;
        }
        if let Some(version) = self.wrote_revisions.take(key) {
            self.revisions.reach(version, &self.clock).await;
        }
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "statefulset-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.catch_up(key).await;
        let Some(set) = self.sets.get(key) else {
            self.pace.forget(key);
            return Ok(Next::DONE);
        };
        let selector = selector_of(&set)?;
        let uid = set.metadata.uid.as_deref().unwrap_or("");
        let (mut pods, mut revisions) = (self.pods.owned_by(uid), self.revisions.owned_by(uid));
        pods.extend(self.pods.orphans(key.namespace()));
        revisions.extend(self.revisions.orphans(key.namespace()));
        let revisions = claim_all(&self.api, &*set, revisions, |r: &ControllerRevision| {
            selector.matches(r.metadata.labels.as_ref())
        })
        .await?;
        let is_member = |pod: &Pod| {
            selector.matches(pod.metadata.labels.as_ref()) && identity::parent(pod) == key.name()
        };
        let pods = claim_all(&self.api, &*set, pods, is_member).await?;
        let count = pods.len();
        let (status, complete) = self.update(key, &set, pods, revisions).await?;
        let min_ready = set
            .spec
            .as_ref()
            .and_then(|s| s.min_ready_seconds)
            .unwrap_or(0);
        let unripe = min_ready > 0 && status.available_replicas != status.ready_replicas;
        let again = if complete {
            unripe.then(|| pods::seconds(min_ready))
        } else {
            Some(pace::PAUSE)
        };
        Ok(Next::maybe_after(again).resting(count))
    }
}
