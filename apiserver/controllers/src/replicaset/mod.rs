//! The ReplicaSet controller, and with the same code the ReplicationController controller: keeps as many pods as were asked for.
//!
//! Invariant: while creations or deletions that were asked for have not shown up in the cache, no more are asked for.
//! Follows pkg/controller/replicaset/replica_set.go.

mod kinds;
mod status;

use std::sync::Arc;

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::ReplicaSet,
    core::v1::{Pod, ReplicationController},
};

pub use self::{kinds::Replicated, status::Counts};
use crate::{
    api::Api,
    clock::Clock,
    error::Error,
    events::Recorder,
    expectations::{Expectations, Wrote},
    informer::{Change, Informer},
    key::Key,
    labels::Selector,
    list::Work,
    owners::{claim_all, controller_of, controller_ref, is_controlled_by},
    pace::{self, Pace},
    pods,
    queue::Queue,
    runner::{Context, Next, Reconcile, slow_start},
};

/// How many pods one pass creates or deletes at most.
const BURST: usize = 500;
/// While creations are under way, their events are taken together so often.
const CREATING: std::time::Duration = std::time::Duration::from_millis(3);

/// The controller of one of the two kinds.
struct Controller<K: Replicated> {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    sets: Informer<K>,
    pods: Informer<Pod>,
    expectations: Arc<Expectations>,
    wrote: Wrote,
    pace: Pace,
}

/// `replicaset-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    Ok(Some(make::<ReplicaSet>(context)))
}

/// `replicationcontroller-controller`.
pub fn start_replication_controller(context: &Context) -> Result<Work, Error> {
    Ok(Some(make::<ReplicationController>(context)))
}

fn make<K: Replicated>(context: &Context) -> futures::future::BoxFuture<'static, ()> {
    let queue = context.queue::<Key>();
    let controller = Arc::new(Controller::<K> {
        api: context.api.clone(),
        clock: context.clock.clone(),
        recorder: context.recorder(K::COMPONENT),
        sets: context.informer(),
        pods: context.informer(),
        expectations: Arc::new(Expectations::new(context.clock.clone())),
        wrote: Wrote::default(),
        pace: Pace::new(context.clock.clone()),
    });
    let q = queue.clone();
    controller
        .sets
        .subscribe(move |change| q.add(Key::of(change.object().meta())));
    let watcher = Watcher {
        sets: controller.sets.clone(),
        expectations: controller.expectations.clone(),
        queue: queue.clone(),
    };
    controller
        .pods
        .subscribe(move |change| watcher.pod_changed(change));
    context.workers(controller, queue)
}

/// Turns changes of pods into keys of their owners, and ticks off what was expected.
struct Watcher<K: Replicated> {
    sets: Informer<K>,
    expectations: Arc<Expectations>,
    queue: Arc<Queue<Key>>,
}

impl<K: Replicated> Watcher<K> {
    /// The key of the set that controls this pod.
    fn owner(&self, pod: &Pod) -> Option<Key> {
        let owner = controller_of(&pod.metadata).filter(|r| r.kind == K::kind())?;
        let key = Key::new(pod.metadata.namespace.as_deref().unwrap_or(""), &owner.name);
        let set = self.sets.get(&key)?;
        (set.meta().uid.as_ref() == Some(&owner.uid)).then_some(key)
    }

    fn pod_changed(&self, change: &Change<Pod>) {
        match change {
            Change::Added(pod) if pods::is_deleting(pod) => self.pod_gone(pod),
            Change::Added(pod) => match self.owner(pod) {
                Some(key) => {
                    self.expectations.creation_observed(&key);
                    self.queue.add(key);
                }
                None => self.wake_takers(pod),
            },
            Change::Updated { old, new } => self.pod_updated(old, new),
            Change::Deleted(pod) => self.pod_gone(pod),
        }
    }

    fn pod_updated(&self, old: &Pod, new: &Pod) {
        if pods::is_deleting(new) {
            self.pod_gone(new);
            return;
        }
        let owner_changed = controller_of(&old.metadata) != controller_of(&new.metadata);
        if owner_changed && let Some(key) = self.owner(old) {
            self.queue.add(key);
        }
        if controller_of(&new.metadata).is_some() {
            if let Some(key) = self.owner(new) {
                self.queue.add(key);
            }
        } else if owner_changed || old.metadata.labels != new.metadata.labels {
            self.wake_takers(new);
        }
    }

    fn pod_gone(&self, pod: &Pod) {
        if let Some(key) = self.owner(pod) {
            self.expectations
                .deletion_observed(&key, &Key::of(&pod.metadata));
            self.queue.add(key);
        }
    }

    /// An orphan came up: whoever selects it may take it in.
    fn wake_takers(&self, pod: &Pod) {
        if controller_of(&pod.metadata).is_some() {
            return;
        }
        for set in self
            .sets
            .in_namespace(pod.metadata.namespace.as_deref().unwrap_or(""))
        {
            if set
                .selector()
                .is_ok_and(|s| !s.is_everything() && s.matches(pod.metadata.labels.as_ref()))
            {
                self.queue.add(Key::of(set.meta()));
            }
        }
    }
}

impl<K: Replicated> Reconcile<Key> for Controller<K> {
    const NAME: &'static str = K::COMPONENT;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if let Some(version) = self.wrote.take(key) {
            self.sets.reach(version, &self.clock).await;
        }
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            self.pace.forget(key);
            return Ok(Next::DONE);
        };
        let settled = self.expectations.satisfied(key);
        let selector = set.selector()?;
        let mut candidates = self.pods.owned_by(set.meta().uid.as_deref().unwrap_or(""));
        candidates.extend(self.pods.orphans(key.namespace()));
        let seen = candidates.len();
        let terminating = self.terminating(&set, &selector, &candidates);
        let failed = candidates
            .iter()
            .filter(|pod| {
                pods::phase(pod) == "Failed" && is_controlled_by(&pod.metadata, set.meta())
            })
            .count();
        candidates.retain(|pod| pods::is_active(pod));
        let active = claim_all(&self.api, &*set, candidates, |pod: &Pod| {
            selector.matches(pod.metadata.labels.as_ref())
        })
        .await?;

        let outcome = if settled && set.meta().deletion_timestamp.is_none() {
            self.manage(key, &set, &active, failed).await
        } else {
            Ok(true)
        };
        let now = self.clock.now();
        let counts = status::counts(&*set, &active, terminating, outcome.as_ref().err(), now);
        self.write_status(key, &set, &counts).await?;
        let complete = outcome?;

        let min_ready = set.min_ready_seconds();
        let mut next = Next::DONE.resting(seen);
        if min_ready > 0 && counts.ready != counts.available {
            next.again = Some(
                pods::next_availability(&active, min_ready, now)
                    .unwrap_or(pods::seconds(min_ready)),
            );
        }
        if !complete {
            next.again = Some(pace::PAUSE);
        }
        if !self.expectations.satisfied(key) {
            next.rest = CREATING;
        }
        Ok(next)
    }
}

impl<K: Replicated> Controller<K> {
    /// How many of the set's pods are on their way out.
    fn terminating(&self, set: &K, selector: &Selector, candidates: &[Arc<Pod>]) -> i32 {
        let counts = |pod: &&Arc<Pod>| {
            pods::is_terminating(pod)
                && is_controlled_by(&pod.metadata, set.meta())
                && selector.matches(pod.metadata.labels.as_ref())
        };
        i32::try_from(candidates.iter().filter(counts).count()).unwrap_or(i32::MAX)
    }

    /// Creates what is missing, deletes what is too much. False when some have to wait that come in the place of `failed` ones.
    async fn manage(
        &self,
        key: &Key,
        set: &K,
        active: &[Arc<Pod>],
        failed: usize,
    ) -> Result<bool, Error> {
        let wanted = usize::try_from(set.replicas()).unwrap_or(0);
        if active.len() < wanted {
            let missing = (wanted - active.len()).min(BURST);
            let replaced = missing.min(failed);
            let waiting = replaced - self.pace.take(key, replaced);
            self.create(key, set, missing - waiting).await?;
            return Ok(waiting == 0);
        }
        if active.len() > wanted {
            let related = self.related(set);
            let doomed = choose(
                active,
                &related,
                (active.len() - wanted).min(BURST),
                self.clock.now(),
            );
            self.delete(key, set, &doomed).await?;
        }
        Ok(true)
    }

    async fn create(&self, key: &Key, set: &K, count: usize) -> Result<(), Error> {
        if count == 0 {
            return Ok(());
        }
        let template = set
            .template()
            .ok_or_else(|| Error::Failed(format!("{} {key} has no template", K::kind())))?;
        let pod = pods::from_template(template, key.namespace(), key.name(), controller_ref(set));
        self.expectations.expect_creations(key, count);
        let (created, failure) = slow_start(count, |_| async {
            match pods::create(&self.api, &self.recorder, set, &pod).await {
                // nothing can be made in a namespace that ends: no use to try again
                Err(e) if e.is_namespace_terminating() => {
                    self.expectations.creation_observed(key);
                    Ok(())
                }
                other => other.map(drop),
            }
        })
        .await;
        if let Some(error) = failure {
            self.expectations.creations_observed(key, count - created);
            return Err(error);
        }
        Ok(())
    }

    async fn delete(&self, key: &Key, set: &K, doomed: &[Arc<Pod>]) -> Result<(), Error> {
        self.expectations
            .expect_deletions(key, doomed.iter().map(|pod| Key::of(&pod.metadata)));
        let results = join_all(doomed.iter().map(|pod| async {
            let pod = Key::of(&pod.metadata);
            let result = pods::delete(&self.api, &self.recorder, set, &pod).await;
            if result.is_err() {
                self.expectations.deletion_observed(key, &pod);
            }
            result
        }))
        .await;
        match results
            .into_iter()
            .filter_map(Result::err)
            .find(|e| !e.is_not_found())
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// The active pods of all sets that have the same controller: a Deployment's other revisions.
    fn related(&self, set: &K) -> Vec<Arc<Pod>> {
        let siblings = match controller_of(set.meta()) {
            Some(owner) => self.sets.owned_by(&owner.uid),
            None => self.sets.get(&Key::of(set.meta())).into_iter().collect(),
        };
        siblings
            .iter()
            .flat_map(|sibling| {
                self.pods
                    .owned_by(sibling.meta().uid.as_deref().unwrap_or(""))
            })
            .filter(|pod| pods::is_active(pod))
            .collect()
    }

    async fn write_status(&self, key: &Key, set: &K, counts: &Counts) -> Result<(), Error> {
        if set.counts() == *counts
            && set.observed_generation() == set.meta().generation.unwrap_or(0)
        {
            return Ok(());
        }
        let mut update = set.clone();
        for attempt in 0.. {
            let generation = set.meta().generation.unwrap_or(0);
            update.set_counts(counts, generation);
            match self.api.update_status(&update).await {
                Ok(written) => {
                    self.wrote
                        .note(key, written.meta().resource_version.as_deref());
                    return Ok(());
                }
                Err(e) if attempt >= 1 || !e.is_conflict() => return Err(e),
                Err(_) => update = self.api.get::<K>(key.namespace(), key.name()).await?,
            }
        }
        Ok(())
    }
}

/// Which `count` of `active` are to go: the ones that hurt least.
fn choose(
    active: &[Arc<Pod>],
    related: &[Arc<Pod>],
    count: usize,
    now: Timestamp,
) -> Vec<Arc<Pod>> {
    if count >= active.len() {
        return active.to_vec();
    }
    let mut crowd = std::collections::HashMap::<&str, usize>::new();
    for pod in related {
        *crowd.entry(pods::node_name(pod)).or_default() += 1;
    }
    let mut ranked: Vec<_> = active
        .iter()
        .map(|pod| (pod, crowd.get(pods::node_name(pod)).copied().unwrap_or(0)))
        .collect();
    ranked.sort_by(|a, b| pods::deletion_order((a.0, a.1), (b.0, b.1), now));
    ranked
        .into_iter()
        .take(count)
        .map(|(pod, _)| pod.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::tests::pod;

    #[test]
    fn the_pods_that_hurt_least_go_first() {
        let all: Vec<_> = [
            pod("ready-crowded", "a", "Running", Some(10)),
            pod("ready-alone", "b", "Running", Some(10)),
            pod("waiting", "", "Pending", None),
            pod("ready-crowded-too", "a", "Running", Some(10)),
        ]
        .map(Arc::new)
        .into();
        let names = |count| {
            choose(&all, &all, count, Timestamp::from_second(20).unwrap())
                .iter()
                .map(|p| p.metadata.name.clone().unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(names(1), ["waiting"]);
        assert_eq!(names(3), ["waiting", "ready-crowded", "ready-crowded-too"]);
        assert_eq!(names(9).len(), 4);
    }
}
