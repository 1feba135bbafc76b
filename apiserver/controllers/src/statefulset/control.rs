//! One pass over a StatefulSet: revisions, then replicas in order, then those that are too many, then the rolling update.
//!
//! Invariant: in an ordered set, a pass goes no further than the first pod that is not as it should be. Follows
//! pkg/controller/statefulset/stateful_set_control.go.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet, StatefulSetStatus},
    core::v1::PodTemplateSpec,
};
use skiff_podspec::pod::Pod;

use super::{
    Controller,
    identity::{self, in_range, is_ready, is_unavailable, ordinal, revision},
    revisions::Revisions,
};
use crate::{history, pods, prelude::*};

/// How many pods of a set that need not be in order are worked on at once.
const MOST_AT_ONCE: usize = 500;

/// A place in the set.
enum Replica {
    Is(Arc<Pod>),
    Missing(Box<Pod>),
}

impl Replica {
    fn pod(&self) -> &Pod {
        match self {
            Self::Is(pod) => pod,
            Self::Missing(pod) => pod,
        }
    }
}

/// Whether the pass goes on after a pod.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    GoOn,
    Stop,
}

pub(super) struct Pass<'a> {
    pub controller: &'a Controller,
    pub key: &'a Key,
    pub set: &'a StatefulSet,
    monotonic: bool,
    now: Timestamp,
    /// A pod that failed has to wait for its turn to be replaced.
    waits: AtomicBool,
}

fn count(
    pods: &[&Pod],
    revisions: &Revisions,
    min_ready: i32,
    now: Timestamp,
) -> StatefulSetStatus {
    let number = |test: &dyn Fn(&Pod) -> bool| {
        i32::try_from(pods.iter().filter(|pod| test(pod)).count()).unwrap_or(i32::MAX)
    };
    let nonzero = |count: i32| (count != 0).then_some(count);
    let of = |pod: &Pod, of: &ControllerRevision| {
        !pods::is_deleting(pod) && revision(pod) == of.metadata.name()
    };
    StatefulSetStatus {
        replicas: number(&|_| true),
        ready_replicas: nonzero(number(&is_ready)),
        available_replicas: Some(number(&|pod| {
            is_ready(pod) && pods::is_available(pod, min_ready, now)
        })),
        current_replicas: nonzero(number(&|pod| of(pod, &revisions.current))),
        updated_replicas: nonzero(number(&|pod| of(pod, &revisions.update))),
        current_revision: revisions.current.metadata.name.clone(),
        update_revision: revisions.update.metadata.name.clone(),
        collision_count: Some(revisions.collisions),
        ..Default::default()
    }
}

impl Controller {
    /// Brings the set one step further; gives the status that was written, and whether nothing has to wait for its turn.
    pub async fn update(
        &self,
        key: &Key,
        set: &StatefulSet,
        pods: Vec<Arc<Pod>>,
        mut all: Vec<Arc<ControllerRevision>>,
    ) -> Result<(StatefulSetStatus, bool), Error> {
        history::sort(&mut all);
        let revisions = self.revisions_of(key, set, &all).await?;
        let monotonic = set.spec().pod_management_policy.as_deref() != Some("Parallel");
        let pass = Pass {
            controller: self,
            key,
            set,
            monotonic,
            now: self.clock.now(),
            waits: AtomicBool::new(false),
        };
        let (mut status, outcome) = pass.run(&pods, &revisions).await;
        status.observed_generation = set.metadata.generation;
        status.conditions = set.status().conditions.clone();
        complete(set, &mut status);
        if set.status.as_ref() != Some(&status) {
            let update = StatefulSet {
                status: Some(status.clone()),
                ..set.clone()
            };
            let written = self.api.update_status(&update).await?;
            self.sets.note(key, &written.metadata);
        }
        outcome?;
        let complete = !pass.waits.load(Ordering::Relaxed);
        self.truncate(set, &pods, all, &revisions).await?;
        Ok((status, complete))
    }
}

/// An update that has come to its end makes its revision the current one.
fn complete(set: &StatefulSet, status: &mut StatefulSetStatus) {
    let wanted = identity::replicas(set);
    let rolling = strategy(set) == "RollingUpdate";
    if rolling
        && status.updated_replicas.unwrap_or(0) == wanted
        && status.ready_replicas.unwrap_or(0) == wanted
        && status.replicas == wanted
    {
        status.current_replicas = status.updated_replicas;
        status.current_revision = status.update_revision.clone();
    }
}

fn strategy(set: &StatefulSet) -> &str {
    set.spec()
        .update_strategy
        .as_ref()
        .and_then(|s| s.type_.as_deref())
        .unwrap_or("RollingUpdate")
}

fn partition(set: &StatefulSet) -> i32 {
    set.spec()
        .update_strategy
        .as_ref()
        .and_then(|s| s.rolling_update.as_ref())
        .and_then(|r| r.partition)
        .unwrap_or(0)
}

/// The pod that a rolling update deletes now: the last that is of another revision, whether it is well or not; none while one behind it is not
/// available.
fn outdated<'a>(
    set: &StatefulSet,
    replicas: &[&'a Pod],
    update: &str,
    now: Timestamp,
) -> Option<&'a Pod> {
    let min_ready = set.spec().min_ready_seconds.unwrap_or(0);
    let skipped = usize::try_from(partition(set)).unwrap_or(0);
    let is_old = |pod: &Pod| revision(pod) != update && !pods::is_deleting(pod);
    let targets = replicas.iter().skip(skipped).rev();
    let mut decisive = targets.filter(|pod| is_old(pod) || is_unavailable(pod, min_ready, now));
    decisive.next().copied().filter(|pod| is_old(pod))
}

impl Pass<'_> {
    async fn run(
        &self,
        pods: &[Arc<Pod>],
        revisions: &Revisions,
    ) -> (StatefulSetStatus, Result<(), Error>) {
        let mut status = count(
            &pods.iter().map(|pod| &**pod).collect::<Vec<_>>(),
            revisions,
            self.min_ready(),
            self.now,
        );
        if self.set.metadata.deletion_timestamp.is_some() {
            return (status, Ok(()));
        }
        let outcome = self.replicas_and_condemned(pods, revisions).await;
        // without a partition it says which pods are still of the old revision, and the one that went is none
        if let (Ok(true), Some(current)) = (&outcome, status.current_replicas) {
            status.current_replicas = Some(current - 1).filter(|rest| *rest > 0);
        }
        (status, outcome.map(drop))
    }

    fn min_ready(&self) -> i32 {
        self.set.spec().min_ready_seconds.unwrap_or(0)
    }

    /// Takes one step; tells whether that was to delete a pod for the update.
    async fn replicas_and_condemned(
        &self,
        pods: &[Arc<Pod>],
        revisions: &Revisions,
    ) -> Result<bool, Error> {
        let (replicas, all) = self.places(pods, revisions)?;
        let mut condemned: Vec<_> = pods
            .iter()
            .filter(|pod| ordinal(pod).is_some_and(|o| !in_range(self.set, o)))
            .collect();
        condemned.sort_by_key(|pod| std::cmp::Reverse(ordinal(pod)));
        let unavailable = |pod: &Pod| is_unavailable(pod, self.min_ready(), self.now);
        let first = replicas
            .iter()
            .map(Replica::pod)
            .chain(condemned.iter().rev().map(|pod| &***pod))
            .find(|pod| unavailable(pod));
        let first = first.and_then(|pod| pod.metadata.name.clone());

        // those that were made are heard of, and then it is the next ones' turn
        if self
            .for_all(&replicas, |replica| self.replica(replica))
            .await?
            == Step::Stop
            || !all
        {
            return Ok(false);
        }
        for pod in &condemned {
            if !self.controller.claims_fit(self.set, pod) {
                self.controller.fit_claims(self.key, self.set, pod).await?;
            }
        }
        if self
            .for_all(&condemned, |pod| self.condemned(pod, first.as_deref()))
            .await?
            == Step::Stop
        {
            return Ok(false);
        }
        if strategy(self.set) == "RollingUpdate" {
            let places: Vec<&Pod> = replicas.iter().map(Replica::pod).collect();
            let update = revisions.update.metadata.name();
            if let Some(pod) = outdated(self.set, &places, update, self.now) {
                self.delete(pod).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The places of the set, those without a pod with the pod that belongs there; and whether that is all of them. However many a set wants, no more
    /// are made at once than a pass can do something about: an ordered set's stops at the first that is missing.
    fn places(
        &self,
        pods: &[Arc<Pod>],
        revisions: &Revisions,
    ) -> Result<(Vec<Replica>, bool), Error> {
        let templates: [PodTemplateSpec; 2] = [
            identity::template_of(&revisions.current)?,
            identity::template_of(&revisions.update)?,
        ];
        let rolling = strategy(self.set) == "RollingUpdate";
        let partitioned = self
            .set
            .spec()
            .update_strategy
            .as_ref()
            .and_then(|s| s.rolling_update.as_ref())
            .is_some();
        let kept = if partitioned {
            partition(self.set)
        } else {
            self.set.status().current_replicas.unwrap_or(0)
        };
        let first_new = i64::from(identity::first(self.set)) + i64::from(kept);
        let mut by_ordinal: HashMap<i32, &Arc<Pod>> = pods
            .iter()
            .filter_map(|pod| Some((ordinal(pod)?, pod)))
            .collect();
        let mut room = if self.monotonic { 1 } else { MOST_AT_ONCE };
        let mut places = Vec::new();
        for o in identity::range(self.set) {
            if let Some(pod) = by_ordinal.remove(&o) {
                places.push(Replica::Is(pod.clone()));
                continue;
            }
            if room == 0 {
                return Ok((places, false));
            }
            room -= 1;
            let old = rolling && i64::from(o) < first_new;
            let (template, of) = if old {
                (&templates[0], &revisions.current)
            } else {
                (&templates[1], &revisions.update)
            };
            places.push(Replica::Missing(Box::new(identity::new_pod(
                self.set,
                template,
                of.metadata.name(),
                o,
            ))));
        }
        Ok((places, true))
    }

    /// One after the other in an ordered set, else in batches that grow.
    async fn for_all<'a, T, F, R>(&self, all: &'a [T], act: F) -> Result<Step, Error>
    where
        F: Fn(&'a T) -> R,
        R: Future<Output = Result<Step, Error>>,
    {
        if self.monotonic {
            for one in all {
                if act(one).await? == Step::Stop {
                    return Ok(Step::Stop);
                }
            }
            return Ok(Step::GoOn);
        }
        let (mut rest, mut size) = (all, 1);
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(size.min(rest.len()));
            let errors: Vec<Error> = join_all(batch.iter().map(&act))
                .await
                .into_iter()
                .filter_map(Result::err)
                .collect();
            Error::collect(errors)?;
            (rest, size) = (later, (size * 2).min(MOST_AT_ONCE));
        }
        Ok(Step::GoOn)
    }

    async fn replica(&self, replica: &Replica) -> Result<Step, Error> {
        let pod = match replica {
            Replica::Missing(pod) => {
                if self.controller.claim_is_stale(self.set, pod) {
                    return Ok(Step::Stop);
                }
                self.create(pod).await?;
                return Ok(if self.monotonic {
                    Step::Stop
                } else {
                    Step::GoOn
                });
            }
            Replica::Is(pod) => pod,
        };
        if pods::is_finished(pod) {
            if !pods::is_deleting(pod) {
                match self.controller.pace.take(self.key, 1) {
                    0 => self.waits.store(true, Ordering::Relaxed),
                    _ => self.delete(pod).await?,
                }
            }
            return Ok(Step::Stop);
        }
        if pods::phase(pod) == "Pending" {
            self.controller
                .create_claims(self.key, self.set, pod)
                .await?;
            self.controller.fit_claims(self.key, self.set, pod).await?;
        }
        if self.monotonic
            && (pods::is_deleting(pod)
                || !is_ready(pod)
                || !pods::is_available(pod, self.min_ready(), self.now))
        {
            return Ok(Step::Stop);
        }
        if !self.controller.claims_fit(self.set, pod) {
            self.controller.fit_claims(self.key, self.set, pod).await?;
        }
        self.keep_identity(pod).await?;
        Ok(Step::GoOn)
    }

    async fn condemned(&self, pod: &Pod, first_unavailable: Option<&str>) -> Result<Step, Error> {
        if pods::is_deleting(pod) {
            return Ok(if self.monotonic {
                Step::Stop
            } else {
                Step::GoOn
            });
        }
        let well = is_ready(pod) && pods::is_available(pod, self.min_ready(), self.now);
        if self.monotonic && !well && first_unavailable != pod.metadata.name.as_deref() {
            return Ok(Step::Stop);
        }
        self.delete(pod).await?;
        Ok(Step::Stop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::apps::v1::{
        RollingUpdateStatefulSetStrategy, StatefulSetSpec, StatefulSetUpdateStrategy,
    };

    #[test]
    fn a_rolling_update_goes_from_the_end_down_to_the_partition() {
        let pod = |i: usize, ready: bool, of: &str| {
            let mut pod =
                crate::pods::tests::pod(&format!("web-{i}"), "n", "Running", ready.then_some(1));
            pod.metadata.labels =
                Some([(identity::REVISION_LABEL.to_string(), of.to_string())].into());
            pod
        };
        let case = |partition, state: [(bool, &str); 3]| {
            let rolling = RollingUpdateStatefulSetStrategy {
                partition: Some(partition),
                max_unavailable: None,
            };
            let strategy = StatefulSetUpdateStrategy {
                type_: Some("RollingUpdate".into()),
                rolling_update: Some(rolling),
            };
            let set = StatefulSet {
                spec: Some(StatefulSetSpec {
                    replicas: Some(3),
                    update_strategy: Some(strategy),
                    ..Default::default()
                }),
                ..Default::default()
            };
            let pods: Vec<_> = state
                .iter()
                .enumerate()
                .map(|(i, (ready, of))| pod(i, *ready, of))
                .collect();
            let refs: Vec<&Pod> = pods.iter().collect();
            let found = outdated(&set, &refs, "new", Timestamp::from_second(9).unwrap());
            found.map_or("", |pod| pod.metadata.name()).to_string()
        };
        for (partition, state, expected) in [
            (0, [(true, "old"), (true, "old"), (true, "old")], "web-2"),
            (0, [(true, "old"), (true, "old"), (true, "new")], "web-1"),
            (0, [(true, "old"), (true, "old"), (false, "new")], ""),
            (2, [(true, "old"), (true, "old"), (true, "new")], ""),
            // one that is not well is not waited for when it is to go itself
            (0, [(true, "old"), (true, "old"), (false, "old")], "web-2"),
            (0, [(true, "old"), (false, "old"), (true, "new")], "web-1"),
            (0, [(true, "new"), (true, "new"), (true, "new")], ""),
        ] {
            assert_eq!(case(partition, state), expected, "{partition} {state:?}");
        }
    }
}
