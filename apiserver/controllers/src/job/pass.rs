//! One pass over a Job: what its pods amount to, whether that ends it, and what is to be made or deleted.
//!
//! Invariant: nothing is created or ended for good while the cache lags behind what was asked for. Follows
//! pkg/controller/job/job_controller.go (syncJob, manageJob).

use std::{collections::HashMap, time::Duration};

use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition, JobStatus},
        core::v1::Pod,
    },
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    Controller,
    backoff::{self, Backoff},
    create::{failures, index_of, is_indexed, new_pod},
    indexes::{self, Indexes, total},
    is_tracked,
    policy::{self, Failure, is_failed, only_replaces_failed},
};
use crate::{
    clock::{since, whole_seconds},
    pods,
    prelude::*,
    runner::slow_start,
};

/// How many pods one pass creates or deletes at most.
const MOST: usize = 500;
pub const FAILURE_TARGET: &str = "FailureTarget";
pub const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
pub const COMPLETE: &str = "Complete";
pub const FAILED: &str = "Failed";
const SUSPENDED: &str = "Suspended";

/// Everything that is known of a Job in one pass.
pub struct Pass<'a> {
    pub controller: &'a Controller,
    pub key: &'a Key,
    pub job: Job,
    pub pods: Vec<Arc<Pod>>,
    pub active: Vec<Arc<Pod>>,
    pub ready: i32,
    pub terminating: i32,
    pub succeeded: i32,
    pub failed: i32,
    /// Indexes that had succeeded before, and with this pass.
    pub done_before: Indexes,
    pub done: Indexes,
    pub failed_indexes: Option<Indexes>,
    /// Of each index that waits to be tried again, the pod that failed last.
    pub delayed: HashMap<i32, Arc<Pod>>,
    /// What ends the Job, if anything does.
    pub end: Option<JobCondition>,
    pub backoff: Backoff,
    now: Timestamp,
}

/// A condition as of `now`.
pub fn condition(kind: &str, reason: &str, message: &str, now: Timestamp) -> JobCondition {
    let now = Some(Time(whole_seconds(now)));
    JobCondition {
        type_: kind.into(),
        status: "True".into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_probe_time: now.clone(),
        last_transition_time: now,
    }
}

/// The condition of this type.
pub fn find<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|c| c.type_ == kind)
}

/// Makes a condition say this; true when it said something else. A missing one is not added to be false.
pub fn ensure(status: &mut JobStatus, new: JobCondition) -> bool {
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|c| c.type_ == new.type_) {
        Some(old)
            if (&old.status, &old.reason, &old.message)
                == (&new.status, &new.reason, &new.message) =>
        {
            return false;
        }
        Some(old) => *old = new,
        None if new.status == "False" => {
            if conditions.is_empty() {
                status.conditions = None;
            }
            return false;
        }
        None => conditions.push(new),
    }
    true
}

fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

fn is_suspended(job: &Job) -> bool {
    job.spec().suspend.unwrap_or(false)
}

impl Controller {
    /// Brings the Job one step further.
    pub async fn sync(&self, key: &Key, job: Job, pods: Vec<Arc<Pod>>) -> Result<Next, Error> {
        let settled = self.expectations.satisfied(key);
        let now = self.clock.now();
        let count = pods.len();
        let mut pass = Pass::new(self, key, job, pods, now);
        let mut next = Next::DONE.resting(count);
        next.again = pass.judge();
        let mut active = number(pass.active.len());
        let mut changed = false;
        let outcome = if pass.end.is_some() {
            let outcome = pass.delete(&pass.active.clone()).await;
            let deleted = outcome.as_ref().map_or(0, |_| active);
            if outcome.is_err() || !settled {
                pass.end = None;
            }
            active -= deleted;
            pass.terminating += deleted;
            pass.ready = 0;
            outcome
        } else {
            let mut outcome = Ok(());
            let manage = settled && pass.job.metadata.deletion_timestamp.is_none();
            if manage {
                let (left, again, result) = pass.manage().await;
                active = left;
                next.again = [next.again, again].into_iter().flatten().min();
                outcome = result;
            }
            let complete = match pass.job.spec().completions {
                None => pass.succeeded > 0 && active == 0,
                Some(wanted) => pass.succeeded >= wanted && active == 0,
            };
            if complete {
                pass.end = Some(condition(
                    SUCCESS_CRITERIA_MET,
                    "CompletionsReached",
                    "Reached expected number of succeeded pods",
                    now,
                ));
            } else if manage {
                changed = pass.note_suspension();
            }
            outcome
        };
        pass.track(active, changed).await?;
        outcome?;
        Ok(next)
    }
}

impl<'a> Pass<'a> {
    fn new(
        controller: &'a Controller,
        key: &'a Key,
        mut job: Job,
        pods: Vec<Arc<Pod>>,
        now: Timestamp,
    ) -> Self {
        let status = job.status.get_or_insert_default();
        status.uncounted_terminated_pods.get_or_insert_default();
        let active: Vec<_> = pods
            .iter()
            .filter(|pod| pods::is_active(pod))
            .cloned()
            .collect();
        let completions = job.spec().completions.unwrap_or(0);
        let status = job.status.clone().unwrap_or_default();
        let done_before = indexes::parse(
            status.completed_indexes.as_deref().unwrap_or(""),
            completions,
        );
        let mut pass = Pass {
            controller,
            key,
            ready: number(active.iter().filter(|pod| pods::is_ready(pod)).count()),
            terminating: number(pods.iter().filter(|pod| pods::is_terminating(pod)).count()),
            active,
            pods,
            succeeded: 0,
            failed: 0,
            done: done_before.clone(),
            done_before,
            failed_indexes: None,
            delayed: HashMap::new(),
            end: None,
            backoff: controller
                .backoffs
                .lock()
                .get(key)
                .copied()
                .unwrap_or_default(),
            job,
            now,
        };
        pass.count(&status);
        if pass
            .job
            .status
            .as_ref()
            .is_some_and(|s| s.start_time.is_none())
            && !is_suspended(&pass.job)
        {
            pass.job.status.get_or_insert_default().start_time = Some(controller.clock.time());
        }
        pass
    }

    /// Pods that were not counted before and are to be now, of those that pass `test`.
    fn uncounted(&self, counted: &[String], test: impl Fn(&Pod) -> bool) -> Vec<Arc<Pod>> {
        let released = self.controller.released.lock();
        let fits = |pod: &&Arc<Pod>| {
            let uid = pod.metadata.uid();
            is_tracked(pod)
                && !counted.iter().any(|c| c == uid)
                && !released.contains(uid)
                && (!is_indexed(&self.job) || index_of(&self.job, pod).is_some())
                && test(pod)
        };
        self.pods.iter().filter(fits).cloned().collect()
    }

    fn count(&mut self, status: &JobStatus) {
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let (counted_good, counted_bad) = (
            uncounted.succeeded.unwrap_or_default(),
            uncounted.failed.unwrap_or_default(),
        );
        let succeeded = self.uncounted(&counted_good, |pod| pods::phase(pod) == "Succeeded");
        let failed = self.uncounted(&counted_bad, |pod| is_failed(&self.job, pod));
        let counting = failed
            .iter()
            .filter(|pod| policy::judge(&self.job, pod) != Failure::Ignore)
            .count();
        self.succeeded =
            status.succeeded.unwrap_or(0) + number(succeeded.len() + counted_good.len());
        self.failed = status.failed.unwrap_or(0) + number(counting + counted_bad.len());
        self.backoff = self.backoff.with(&succeeded, &failed);
        if is_indexed(&self.job) {
            let done = self
                .pods
                .iter()
                .filter(|pod| is_tracked(pod) && pods::phase(pod) == "Succeeded")
                .filter_map(|pod| index_of(&self.job, pod));
            self.done.extend(done);
            self.succeeded = total(&self.done);
        }
    }

    /// Whether something ends the Job; gives when its deadline is to be looked at.
    fn judge(&mut self) -> Option<Duration> {
        let mut again = None;
        self.end = self.standing_end().or_else(|| self.policy_end());
        if self.end.is_none() {
            let target = |reason: &str, message: &str| {
                Some(condition(FAILURE_TARGET, reason, message, self.now))
            };
            let limit = self.job.spec().backoff_limit.unwrap_or(6);
            if self.failed > limit || self.restarts_exceed(limit) {
                self.end = target(
                    "BackoffLimitExceeded",
                    "Job has reached the specified backoff limit",
                );
            } else if let Some(left) = self.deadline() {
                if left.is_zero() {
                    self.end = target(
                        "DeadlineExceeded",
                        "Job was active longer than specified deadline",
                    );
                } else {
                    again = Some(left);
                }
            }
        }
        if is_indexed(&self.job) {
            self.judge_indexes();
        }
        again
    }

    /// What an earlier pass decided.
    fn standing_end(&self) -> Option<JobCondition> {
        let status = self.job.status.as_ref()?;
        let standing = |kind| find(status, kind).filter(|c| c.status == "True");
        if let Some(met) = standing(SUCCESS_CRITERIA_MET) {
            return Some(met.clone());
        }
        let target = standing(FAILURE_TARGET)?;
        Some(condition(
            FAILED,
            target.reason.as_deref().unwrap_or(""),
            target.message.as_deref().unwrap_or(""),
            self.now,
        ))
    }

    fn policy_end(&self) -> Option<JobCondition> {
        let message = self
            .pods
            .iter()
            .filter(|pod| is_failed(&self.job, pod))
            .find_map(|pod| match policy::judge(&self.job, pod) {
                Failure::FailJob(message) => Some(message),
                _ => None,
            })?;
        Some(condition(
            FAILURE_TARGET,
            "PodFailurePolicy",
            &message,
            self.now,
        ))
    }

    fn restarts_exceed(&self, limit: i32) -> bool {
        if self
            .job
            .spec()
            .template
            .spec
            .as_ref()
            .and_then(|spec| spec.restart_policy.as_deref())
            != Some("OnFailure")
        {
            return false;
        }
        let running = self
            .pods
            .iter()
            .filter(|pod| matches!(pods::phase(pod), "Running" | "Pending"))
            .filter_map(|pod| pod.status.as_ref());
        let containers = running.flat_map(|s| {
            s.container_statuses
                .iter()
                .flatten()
                .chain(s.init_container_statuses.iter().flatten())
        });
        let restarts = crate::fraction::total(containers.map(|c| c.restart_count));
        if limit == 0 {
            restarts > 0
        } else {
            restarts >= limit
        }
    }

    /// How long until the Job has been active for too long.
    fn deadline(&self) -> Option<Duration> {
        let seconds = self
            .job
            .spec()
            .active_deadline_seconds
            .filter(|_| !is_suspended(&self.job))?;
        let started = self.job.status().start_time.as_ref()?.0;
        Some(
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
                .saturating_sub(since(self.now, started)),
        )
    }

    fn judge_indexes(&mut self) {
        let completions = self.job.spec().completions.unwrap_or(0);
        if let Some(limit) = self.job.spec().backoff_limit_per_index {
            let before = self.job.status().failed_indexes.as_deref().unwrap_or("");
            let mut failed = indexes::parse(before, completions);
            let for_good = |pod: &&Arc<Pod>| {
                is_tracked(pod)
                    && is_failed(&self.job, pod)
                    && match policy::judge(&self.job, pod) {
                        Failure::FailIndex => true,
                        Failure::Ignore => false,
                        _ => i64::from(failures(pod).0) >= i64::from(limit),
                    }
            };
            failed.extend(
                self.pods
                    .iter()
                    .filter(for_good)
                    .filter_map(|pod| index_of(&self.job, pod)),
            );
            let target = |reason: &str, message: &str| {
                Some(condition(FAILURE_TARGET, reason, message, self.now))
            };
            if self.end.is_none() {
                if self
                    .job
                    .spec()
                    .max_failed_indexes
                    .is_some_and(|most| total(&failed) > most)
                {
                    self.end = target(
                        "MaxFailedIndexesExceeded",
                        "Job has exceeded the specified maximal number of failed indexes",
                    );
                } else if !failed.is_empty()
                    && total(&failed).saturating_add(total(&self.done)) >= completions
                {
                    self.end = target("FailedIndexes", "Job has failed indexes");
                }
            }
            self.failed_indexes = Some(failed);
            self.delayed = self.delayed_pods();
        }
        if self.end.is_none()
            && let Some(message) = policy::succeeded(
                self.job.spec().success_policy.as_ref(),
                completions,
                &self.done,
            )
        {
            self.end = Some(condition(
                SUCCESS_CRITERIA_MET,
                "SuccessPolicy",
                &message,
                self.now,
            ));
        }
    }

    fn delayed_pods(&self) -> HashMap<i32, Arc<Pod>> {
        let active: Indexes = self
            .active
            .iter()
            .filter_map(|pod| index_of(&self.job, pod))
            .collect();
        let over = |index: &i32| {
            self.done.contains(index)
                || active.contains(index)
                || self
                    .failed_indexes
                    .as_ref()
                    .is_some_and(|f| f.contains(index))
        };
        let mut delayed = HashMap::<i32, Arc<Pod>>::new();
        let rank = |pod: &Pod| (failures(pod).0 + failures(pod).1, backoff::finished_at(pod));
        for pod in self.uncounted(&[], |pod| is_failed(&self.job, pod)) {
            let Some(index) = index_of(&self.job, &pod).filter(|i| !over(i)) else {
                continue;
            };
            if delayed
                .get(&index)
                .is_none_or(|other| rank(other) <= rank(&pod))
            {
                delayed.insert(index, pod);
            }
        }
        delayed
    }

    fn note_suspension(&mut self) -> bool {
        let (suspended, now) = (is_suspended(&self.job), self.now);
        let mut new = condition(SUSPENDED, "JobSuspended", "Job suspended", now);
        if !suspended {
            new = JobCondition {
                status: "False".into(),
                ..condition(SUSPENDED, "JobResumed", "Job resumed", now)
            };
        }
        let status = self.job.status.get_or_insert_default();
        if !ensure(status, new) {
            return false;
        }
        status.start_time = (!suspended).then(|| Time(whole_seconds(now)));
        let (reason, message) = if suspended {
            ("Suspended", "Job suspended")
        } else {
            ("Resumed", "Job resumed")
        };
        self.controller.recorder.normal(&self.job, reason, message);
        true
    }

    /// Deletes pods without waiting to see them gone.
    async fn delete(&self, doomed: &[Arc<Pod>]) -> Result<(), Error> {
        let results = join_all(doomed.iter().map(|pod| async {
            match pods::delete(
                &self.controller.api,
                &self.controller.recorder,
                &self.job,
                &Key::of(&pod.metadata),
            )
            .await
            {
                Err(e) if e.is_not_found() => Ok(()),
                other => other,
            }
        }))
        .await;
        Error::collect(results.into_iter().filter_map(Result::err).collect())
    }

    /// Deletes pods that are not to be counted, and waits to see them gone.
    async fn remove(&mut self, doomed: Vec<Arc<Pod>>) -> Result<(), Error> {
        let controller = self.controller;
        controller
            .expectations
            .expect_deletions(self.key, doomed.iter().map(|pod| Key::of(&pod.metadata)));
        let results = join_all(doomed.iter().map(|pod| async {
            let pod_key = Key::of(&pod.metadata);
            let result = match controller.release(pod).await {
                Ok(()) => {
                    pods::delete(&controller.api, &controller.recorder, &self.job, &pod_key).await
                }
                Err(e) => Err(failed!("removing completion finalizer: {e}")),
            };
            if result.is_err() {
                controller
                    .expectations
                    .deletion_observed(self.key, &pod_key);
            }
            result
        }))
        .await;
        let gone = results
            .iter()
            .filter(|r| r.as_ref().map_or_else(Error::is_not_found, |()| true))
            .count();
        self.terminating += number(gone);
        self.ready -= number(doomed.iter().filter(|pod| pods::is_ready(pod)).count());
        match results
            .into_iter()
            .filter_map(Result::err)
            .find(|e| !e.is_not_found())
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Creates what is missing, deletes what is too much; gives how many are active then, and when to look again.
    async fn manage(&mut self) -> (i32, Option<Duration>, Result<(), Error>) {
        let active = number(self.active.len());
        let parallelism = self.job.spec().parallelism.unwrap_or(1);
        if is_suspended(&self.job) {
            let doomed = self.active.clone();
            if doomed.is_empty() {
                return (0, None, Ok(()));
            }
            let outcome = self.remove(doomed).await;
            return (if outcome.is_ok() { 0 } else { active }, None, outcome);
        }
        let wanted = match self.job.spec().completions {
            None if self.succeeded > 0 => active,
            None => parallelism,
            Some(completions) => (completions - self.succeeded).clamp(0, parallelism),
        };
        let mut doomed = self.surplus(usize::try_from(active - wanted).unwrap_or(0));
        doomed.truncate(MOST);
        if !doomed.is_empty() {
            let count = number(doomed.len());
            let outcome = self.remove(doomed).await;
            return (
                if outcome.is_ok() {
                    active - count
                } else {
                    active
                },
                None,
                outcome,
            );
        }
        let leaving = if only_replaces_failed(&self.job) {
            self.terminating
        } else {
            0
        };
        let missing = wanted - leaving - active;
        if missing <= 0 {
            return (active, None, Ok(()));
        }
        if self.job.spec().backoff_limit_per_index.is_none() {
            let wait = self.backoff.remaining(self.now);
            if !wait.is_zero() {
                return (active, Some(wait), Ok(()));
            }
        }
        self.create(active, usize::try_from(missing).unwrap_or(0).min(MOST))
            .await
    }

    async fn create(
        &mut self,
        active: i32,
        missing: usize,
    ) -> (i32, Option<Duration>, Result<(), Error>) {
        let (places, again) = if is_indexed(&self.job) {
            let (places, again) = self.pending_indexes(missing);
            (places.into_iter().map(Some).collect::<Vec<_>>(), again)
        } else {
            (vec![None; missing], None)
        };
        if places.is_empty() {
            return (active, again, Ok(()));
        }
        let controller = self.controller;
        controller
            .expectations
            .expect_creations(self.key, places.len());
        let this = &*self;
        let (created, failure) = slow_start(places.len(), |i| {
            let pod = new_pod(
                &this.job,
                places[i],
                places[i]
                    .and_then(|index| this.delayed.get(&index))
                    .map(|pod| &**pod),
            );
            async move {
                match pods::create(&controller.api, &controller.recorder, &this.job, &pod).await {
                    Err(e) if e.is_namespace_terminating() => {
                        controller.expectations.creation_observed(this.key);
                        Ok(())
                    }
                    other => other.map(drop),
                }
            }
        })
        .await;
        if let Some(error) = failure {
            controller
                .expectations
                .creations_observed(self.key, places.len() - created);
            return (active + number(created), again, Err(error));
        }
        (active + number(created), again, Ok(()))
    }

    /// The first indexes without a pod, and how long those in back-off have to wait.
    fn pending_indexes(&self, count: usize) -> (Vec<i32>, Option<Duration>) {
        let mut taken: Indexes = self.done.clone();
        taken.extend(
            self.active
                .iter()
                .filter_map(|pod| index_of(&self.job, pod)),
        );
        if only_replaces_failed(&self.job) {
            taken.extend(
                self.pods
                    .iter()
                    .filter(|pod| pods::is_terminating(pod))
                    .filter_map(|pod| index_of(&self.job, pod)),
            );
        }
        if let Some(failed) = &self.failed_indexes {
            taken.unite(failed);
        }
        let pending: Vec<i32> = taken
            .missing(self.job.spec().completions.unwrap_or(0))
            .take(count)
            .collect();
        let wait = |index: &i32| {
            let pod = self.delayed.get(index)?;
            let (counted, ignored) = failures(pod);
            Some(backoff::remaining(
                counted + ignored + 1,
                backoff::finished_at(pod),
                self.now,
            ))
            .filter(|w| !w.is_zero())
        };
        let again = pending.iter().filter_map(wait).min();
        (
            pending
                .into_iter()
                .filter(|index| wait(index).is_none())
                .collect(),
            again,
        )
    }

    /// At least `count` active pods to delete: doubles of an index, then those that hurt least.
    fn surplus(&self, count: usize) -> Vec<Arc<Pod>> {
        let mut left = self.active.clone();
        left.sort_by(|a, b| pods::deletion_order((a, 0), (b, 0), self.now));
        let mut doomed = Vec::new();
        if is_indexed(&self.job) {
            let mut seen = Indexes::default();
            let mut kept = Vec::new();
            for pod in left.into_iter().rev() {
                match index_of(&self.job, &pod) {
                    Some(index) if seen.insert(index) => kept.push(pod),
                    _ => doomed.push(pod),
                }
            }
            kept.reverse();
            left = kept;
        }
        let more = count.saturating_sub(doomed.len());
        doomed.extend(left.into_iter().take(more));
        doomed
    }
}
