//! The ReplicaSet controller, and with the same code the ReplicationController controller: keeps as many pods as were asked for.
//!
//! Invariant: while creations or deletions that were asked for have not shown up in the cache, no more are asked for.
//! Follows pkg/controller/replicaset/replica_set.go.

mod kinds;
mod status;

use jiff::Timestamp;
use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ReplicationController};
use skiff_podspec::pod::Pod;

pub use self::{kinds::Replicated, status::Counts};
use crate::{
    dependents::{self, Pods, candidates},
    owners::{claim_all, controller_of, controller_ref, is_controlled_by},
    pace::{self, Pace},
    pods,
    prelude::*,
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
    sets: Fresh<K>,
    pods: Informer<Pod>,
    expectations: Expectations,
    pace: Pace,
}

/// `replicaset-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    Ok(make::<ReplicaSet>(context))
}

/// `replicationcontroller-controller`.
pub fn start_replication_controller(context: &Context) -> Result<Work, Error> {
    Ok(make::<ReplicationController>(context))
}

fn make<K: Replicated>(context: &Context) -> Work {
    let c = context.wire(
        K::QUEUE,
        Controller::<K> {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder(K::COMPONENT),
            sets: context.fresh(),
            pods: context.informer(),
            expectations: Expectations::new(context.clock.clone()),
            pace: Pace::new(context.clock.clone()),
        },
    );
    c.each(&c.sets);
    c.on(&c.pods, |c, change, queue| {
        dependents::heard_of_pod(&c.sets, &c.expectations, change, &|key| queue.add(key));
    });
    c.workers()
}

impl<K: Replicated> Reconcile<Key> for Controller<K> {
    const NAME: &'static str = K::COMPONENT;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.sets.catch_up(key).await;
        let Some(set) = self.sets.get(key) else {
            self.expectations.forget(key);
            self.pace.forget(key);
            return Ok(Next::DONE);
        };
        let settled = self.expectations.satisfied(key);
        let selector = set.selector()?;
        let mut candidates = candidates(&*set, &self.pods);
        let seen = candidates.len();
        let terminating = self.terminating(&set, &selector, &candidates);
        let failed = candidates
            .iter()
            .filter(|pod| {
                pods::phase(pod) == "Failed" && is_controlled_by(&pod.metadata, set.meta())
            })
            .count();
        candidates.retain(pods::is_active);
        let active = claim_all(&self.api, &*set, candidates, |pod: &Pod| {
            selector.matches(&pod.metadata.labels.as_ref())
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
                && selector.matches(&pod.metadata.labels.as_ref())
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
            .ok_or_else(|| failed!("{} {key} has no template", K::kind()))?;
        let pod = pods::from_template(template, key.namespace(), key.name(), controller_ref(set));
        self.expectations.expect_creations(key, count);
        let failure = self
            .pods_of(key, set)
            .create(count, |_| pod.clone())
            .await
            .1;
        failure.map_or(Ok(()), Err)
    }

    async fn delete(&self, key: &Key, set: &K, doomed: &[Arc<Pod>]) -> Result<(), Error> {
        self.expectations
            .expect_deletions(key, doomed.iter().map(|pod| Key::of(&pod.metadata)));
        let failures = self.pods_of(key, set).delete(doomed).await;
        failures.into_iter().next().map_or(Ok(()), Err)
    }

    fn pods_of<'a>(&'a self, key: &'a Key, set: &'a K) -> Pods<'a, K> {
        Pods {
            api: &self.api,
            recorder: &self.recorder,
            expectations: &self.expectations,
            key,
            owner: set,
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
            .flat_map(|sibling| self.pods.owned_by(sibling.meta().uid()))
            .filter(pods::is_active)
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
                    self.sets.note(key, written.meta());
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
