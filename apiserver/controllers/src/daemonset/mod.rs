//! The DaemonSet controller: one pod of the template on every node that admits it.
//!
//! Invariant: while creations or deletions that were asked for have not shown up in the cache, no more are asked for.
//! Follows pkg/controller/daemon/daemon_controller.go.

mod placement;
mod revisions;
mod update;

use std::{
    collections::{BTreeMap, HashMap, hash_map::Entry},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus},
        core::v1::{Node, Pod},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

use self::placement::Placement;
use crate::{
    api::Api,
    clock::{Clock, since},
    error::Error,
    events::Recorder,
    expectations::{Expectations, Wrote},
    informer::{Change, Informer},
    key::Key,
    labels::Selector,
    list::Work,
    owners::{claim_all, controller_of},
    pods::{self, name},
    queue::Queue,
    runner::{Context, Next, Reconcile, slow_start},
};

/// How many pods one pass creates or deletes at most.
const BURST: usize = 250;
const FIRST_BACKOFF: Duration = Duration::from_secs(1);
const LAST_BACKOFF: Duration = Duration::from_secs(15 * 60);
/// The label that says which revision a pod is of.
pub const HASH_LABEL: &str = "controller-revision-hash";

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    sets: Informer<DaemonSet>,
    pods: Informer<Pod>,
    nodes: Informer<Node>,
    revisions: Informer<ControllerRevision>,
    expectations: Arc<Expectations>,
    wrote: Wrote,
    wrote_revisions: Wrote,
    backoff: Mutex<HashMap<(Key, String), Backoff>>,
}

/// How failed pods of a set on a node are left alone.
struct Backoff {
    /// Of the set: a new one begins anew.
    generation: i64,
    last: Timestamp,
    pause: Duration,
}

/// `daemonset-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let queue = context.queue::<Key>();
    let controller = Arc::new(Controller {
        api: context.api.clone(),
        clock: context.clock.clone(),
        recorder: context.recorder("daemonset-controller"),
        sets: context.informer(),
        pods: context.informer(),
        nodes: context.informer(),
        revisions: context.informer(),
        expectations: Arc::new(Expectations::new(context.clock.clone())),
        wrote: Wrote::default(),
        wrote_revisions: Wrote::default(),
        backoff: Mutex::default(),
    });
    let q = queue.clone();
    controller
        .sets
        .subscribe(move |change| q.add(Key::of(&change.object().metadata)));
    let (q, watcher) = (queue.clone(), controller.clone());
    controller
        .pods
        .subscribe(move |change| watcher.pod_changed(change, &q));
    let (q, watcher) = (queue.clone(), controller.clone());
    controller.nodes.subscribe(move |change| {
        let taints = |node: &Node| node.spec.as_ref().and_then(|s| s.taints.clone());
        let same = matches!(change, Change::Updated { old, new } if old.metadata.labels == new.metadata.labels && taints(old) == taints(new));
        if !same {
            watcher.sets.list().iter().for_each(|set| q.add(Key::of(&set.metadata)));
        }
    });
    let (q, watcher) = (queue.clone(), controller.clone());
    controller
        .revisions
        .subscribe(move |change| watcher.revision_changed(change, &q));
    Ok(Some(context.workers(controller, queue)))
}

impl Controller {
    /// The set that controls this object.
    fn owner(&self, object: &ObjectMeta) -> Option<Key> {
        let owner = controller_of(object).filter(|r| r.kind == "DaemonSet")?;
        let key = Key::new(object.namespace.as_deref().unwrap_or(""), &owner.name);
        (self.sets.get(&key)?.metadata.uid.as_ref() == Some(&owner.uid)).then_some(key)
    }

    /// Wakes the sets that may take up an object that nobody controls.
    fn wake_takers(&self, orphan: &ObjectMeta, queue: &Queue<Key>) {
        for set in self
            .sets
            .in_namespace(orphan.namespace.as_deref().unwrap_or(""))
        {
            if selector_of(&set)
                .is_ok_and(|s| !s.is_everything() && s.matches(orphan.labels.as_ref()))
            {
                queue.add(Key::of(&set.metadata));
            }
        }
    }

    /// Somebody else changed, let go or deleted a revision; of a new one with an owner nothing is to be done.
    fn revision_changed(&self, change: &Change<ControllerRevision>, queue: &Queue<Key>) {
        let meta = &change.object().metadata;
        if let Change::Updated { old, new } = change
            && controller_of(&old.metadata) != controller_of(&new.metadata)
            && let Some(key) = self.owner(&old.metadata)
        {
            queue.add(key);
        }
        if controller_of(meta).is_some() {
            let key = self
                .owner(meta)
                .filter(|_| !matches!(change, Change::Added(_)));
            key.into_iter().for_each(|key| queue.add(key));
        } else if !matches!(change, Change::Deleted(_)) {
            self.wake_takers(meta, queue);
        }
    }

    fn pod_changed(&self, change: &Change<Pod>, queue: &Queue<Key>) {
        let pod = change.object();
        let going = pods::is_deleting(pod) || matches!(change, Change::Deleted(_));
        if let Change::Updated { old, new } = change
            && controller_of(&old.metadata) != controller_of(&new.metadata)
            && let Some(key) = self.owner(&old.metadata)
        {
            queue.add(key);
        }
        if let Some(key) = self.owner(&pod.metadata) {
            if going {
                self.expectations
                    .deletion_observed(&key, &Key::of(&pod.metadata));
            } else if matches!(change, Change::Added(_)) {
                self.expectations.creation_observed(&key);
            }
            queue.add(key);
        } else if controller_of(&pod.metadata).is_none() && !going {
            self.wake_takers(&pod.metadata, queue);
        }
    }

    /// The set's pods, by the node that they are on or meant for.
    async fn pods_by_node(
        &self,
        set: &DaemonSet,
        selector: &Selector,
    ) -> Result<BTreeMap<String, Vec<Arc<Pod>>>, Error> {
        let mut candidates = self
            .pods
            .owned_by(set.metadata.uid.as_deref().unwrap_or(""));
        candidates.extend(
            self.pods
                .orphans(set.metadata.namespace.as_deref().unwrap_or("")),
        );
        let mine = claim_all(&self.api, set, candidates, |pod: &Pod| {
            selector.matches(pod.metadata.labels.as_ref())
        })
        .await?;
        let mut by_node = BTreeMap::<String, Vec<Arc<Pod>>>::new();
        for pod in mine
            .into_iter()
            .filter(|pod| !(pods::is_finished(pod) && pods::is_deleting(pod)))
        {
            if let Some(node) = placement::target(&pod) {
                by_node.entry(node.to_string()).or_default().push(pod);
            }
        }
        by_node.values_mut().for_each(|pods| placement::sort(pods));
        Ok(by_node)
    }

    /// Creates pods for these nodes and deletes these pods.
    async fn carry_out(
        &self,
        key: &Key,
        set: &DaemonSet,
        hash: &str,
        mut plan: placement::Plan,
    ) -> Result<(), Error> {
        plan.create.truncate(BURST);
        plan.delete.truncate(BURST);
        if plan.create.is_empty() && plan.delete.is_empty() {
            return Ok(());
        }
        self.expectations.expect(
            key,
            plan.create.len(),
            plan.delete
                .iter()
                .map(|pod| Key::of(&pod.metadata))
                .collect(),
        );
        let (created, failure) = slow_start(plan.create.len(), |i| {
            let pod = placement::new_pod(set, &plan.create[i], hash);
            async move {
                match pods::create(&self.api, &self.recorder, set, &pod).await {
                    Err(e) if e.is_namespace_terminating() => {
                        self.expectations.creation_observed(key);
                        Ok(())
                    }
                    other => other.map(drop),
                }
            }
        })
        .await;
        let mut errors: Vec<Error> = failure.into_iter().collect();
        if !errors.is_empty() {
            self.expectations
                .creations_observed(key, plan.create.len() - created);
        }
        let results = join_all(plan.delete.iter().map(|pod| async {
            let pod = Key::of(&pod.metadata);
            let result = pods::delete(&self.api, &self.recorder, set, &pod).await;
            if result.is_err() {
                self.expectations.deletion_observed(key, &pod);
            }
            result
        }))
        .await;
        errors.extend(
            results
                .into_iter()
                .filter_map(Result::err)
                .filter(|e| !e.is_not_found()),
        );
        Error::collect(errors)
    }

    /// Whether a failed pod on this node may be deleted now; if not, when.
    fn may_retry(&self, key: &Key, generation: i64, node: &str) -> Option<Duration> {
        let now = self.clock.now();
        let mut backoff = self.backoff.lock().unwrap_or_else(PoisonError::into_inner);
        next_try(
            backoff.entry((key.clone(), node.to_string())),
            generation,
            now,
        )
    }

    async fn manage(
        &self,
        key: &Key,
        set: &DaemonSet,
        placement: &Placement<'_>,
        hash: &str,
    ) -> Result<Option<Duration>, Error> {
        let mut again: Option<Duration> = None;
        let mut plan = placement::Plan::default();
        for verdict in placement.verdicts(
            hash,
            set.spec
                .as_ref()
                .and_then(|s| s.min_ready_seconds)
                .unwrap_or(0),
            self.clock.now(),
        ) {
            plan.create.extend(verdict.create);
            plan.delete.extend(verdict.delete);
            for pod in verdict.failed {
                let node = placement::target(&pod).unwrap_or("").to_string();
                let what = format!("{}/{}", key.namespace(), name(&pod.metadata));
                if let Some(wait) = self.may_retry(key, set.metadata.generation.unwrap_or(0), &node)
                {
                    again = Some(again.map_or(wait, |a| a.min(wait)));
                    continue;
                }
                self.recorder.warning(
                    set,
                    "FailedDaemonPod",
                    format!("Found failed daemon pod {what} on node {node}, will try to kill it"),
                );
                plan.delete.push(pod);
            }
            for pod in verdict.succeeded {
                let (what, node) = (
                    format!("{}/{}", key.namespace(), name(&pod.metadata)),
                    placement::target(&pod).unwrap_or(""),
                );
                self.recorder.normal(
                    set,
                    "SucceededDaemonPod",
                    format!(
                        "Found succeeded daemon pod {what} on node {node}, will try to delete it"
                    ),
                );
                plan.delete.push(pod);
            }
        }
        self.carry_out(key, set, hash, plan).await?;
        Ok(again)
    }

    async fn write_status(
        &self,
        key: &Key,
        set: &DaemonSet,
        mut status: DaemonSetStatus,
        observed: bool,
    ) -> Result<(), Error> {
        let old = set.status.clone().unwrap_or_default();
        let generation = set.metadata.generation;
        (status.conditions, status.collision_count) = (old.conditions.clone(), old.collision_count);
        status.observed_generation = if observed {
            generation
        } else {
            old.observed_generation
        };
        if status == old && old.observed_generation >= generation {
            return Ok(());
        }
        let update = DaemonSet {
            status: Some(status),
            ..set.clone()
        };
        let written = self.api.update_status(&update).await?;
        self.wrote
            .note(key, written.metadata.resource_version.as_deref());
        Ok(())
    }
}

/// When the next try is, if not now: a second after the first, then twice as long each time; anew after twice the longest time.
fn next_try(
    entry: Entry<'_, (Key, String), Backoff>,
    generation: i64,
    now: Timestamp,
) -> Option<Duration> {
    let backoff = entry.or_insert(Backoff {
        generation,
        last: Timestamp::UNIX_EPOCH,
        pause: Duration::ZERO,
    });
    let passed = since(now, backoff.last);
    if backoff.generation != generation || passed > LAST_BACKOFF * 2 {
        *backoff = Backoff {
            generation,
            last: now,
            pause: FIRST_BACKOFF,
        };
        return None;
    }
    if passed < backoff.pause {
        return Some(backoff.pause - passed);
    }
    (backoff.last, backoff.pause) = (now, (backoff.pause * 2).clamp(FIRST_BACKOFF, LAST_BACKOFF));
    None
}

fn selector_of(set: &DaemonSet) -> Result<Selector, Error> {
    Selector::of(set.spec.as_ref().map(|s| &s.selector))
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "daemonset-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if let Some(version) = self.wrote.take(key) {
            self.sets.reach(version, &self.clock).await;
        }
        if let Some(version) = self.wrote_revisions.take(key) {
            self.revisions.reach(version, &self.clock).await;
        }
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            self.backoff
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .retain(|(set, _), _| set != key);
            return Ok(Next::DONE);
        };
        let selector = selector_of(&set)?;
        if selector.is_everything() {
            self.recorder.warning(
                &*set,
                "SelectingAll",
                "This daemon set is selecting all pods. A non-empty selector is required.",
            );
            return Ok(Next::DONE);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Next::DONE);
        }
        let (hash, old) = self.revisions_of(key, &set, &selector).await?;
        let nodes = self.nodes.list();
        let mut placement = Placement::new(&set, &nodes, self.pods_by_node(&set, &selector).await?);
        let settled = self.expectations.satisfied(key);
        let mut outcome = Ok(None);
        if settled {
            outcome = self.manage(key, &set, &placement, &hash).await;
            if outcome.is_ok() && self.expectations.satisfied(key) {
                let plan = update::plan(&set, &placement, &hash, self.clock.now());
                outcome = self.carry_out(key, &set, &hash, plan).await.and(outcome);
                self.drop_history(&set, &placement, old).await?;
            }
            placement.by_node = self.pods_by_node(&set, &selector).await?;
        }
        let status = placement.status(&hash, self.clock.now());
        let unripe = status.number_ready != status.number_available.unwrap_or(0);
        self.write_status(key, &set, status, settled).await?;
        let again = outcome?;
        let min_ready = set
            .spec
            .as_ref()
            .and_then(|s| s.min_ready_seconds)
            .filter(|s| *s > 0 && unripe)
            .map(pods::seconds);
        Ok(Next::maybe_after([again, min_ready].into_iter().flatten().min()).resting(nodes.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_pods_are_left_alone_longer_and_longer() {
        let mut backoff = HashMap::new();
        let mut at = |seconds: i64, generation: i64| {
            let now = Timestamp::from_second(1_000_000 + seconds).unwrap();
            next_try(
                backoff.entry((Key::new("ns", "set"), "node".to_string())),
                generation,
                now,
            )
            .map(|wait| wait.as_secs())
        };
        assert_eq!(
            [at(0, 1), at(0, 1), at(1, 1), at(2, 1), at(3, 1)],
            [None, Some(1), None, Some(1), None]
        );
        assert_eq!([at(6, 1), at(7, 1)], [Some(1), None], "four seconds by now");
        assert_eq!(
            [at(7, 2), at(7, 2)],
            [None, Some(1)],
            "another template begins anew"
        );
        assert_eq!(
            [at(7 + 1801, 2), at(7 + 1801, 2)],
            [None, Some(1)],
            "and so does one that held"
        );
    }
}
