//! One pass over a Job: what its pods amount to is carried out.
//!
//! Invariant: nothing is created or ended for good while the cache lags behind what was asked for. Follows
//! pkg/controller/job/job_controller.go (syncJob, manageJob).

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use futures::future::join_all;
use k8s_openapi::{
    api::batch::v1::{Job, JobCondition, JobStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use skiff_podspec::pod::Pod;

use super::{
    Controller,
    count::{Count, SUCCESS_CRITERIA_MET, Step, condition, is_suspended, number},
    create::{is_indexed, new_pod},
};
use crate::{clock::whole_seconds, dependents::Pods, pods, prelude::*};

const SUSPENDED: &str = "Suspended";

/// One pass over a Job.
pub struct Pass<'a> {
    pub controller: &'a Controller,
    pub key: &'a Key,
    pub count: Count,
}

impl Deref for Pass<'_> {
    type Target = Count;

    fn deref(&self) -> &Count {
        &self.count
    }
}

impl DerefMut for Pass<'_> {
    fn deref_mut(&mut self) -> &mut Count {
        &mut self.count
    }
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

impl Controller {
    /// Brings the Job one step further. `settled` tells that the cache showed all that was asked for before `pods` were listed.
    pub async fn sync(
        &self,
        key: &Key,
        job: Job,
        settled: bool,
        pods: Vec<Arc<Pod>>,
    ) -> Result<Next, Error> {
        let now = self.clock.now();
        let released = self.released.shown_by(key, pods.iter().map(|pod| &**pod));
        let backoff = self.backoffs.lock().get(key).copied();
        let seen = pods.len();
        let count = Count::of(job, pods, released, backoff.unwrap_or_default(), now);
        let mut pass = Pass {
            controller: self,
            key,
            count,
        };
        let mut next = Next::DONE.resting(seen);
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

impl Pass<'_> {
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
            let result = match controller.release_counted(self.key, pod).await {
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
        let uids = doomed.iter().filter_map(|pod| pod.metadata.uid.clone());
        self.released.extend(uids);
        self.terminating += number(gone);
        self.ready -= number(doomed.iter().filter(pods::is_ready).count());
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
        match self.step() {
            Step::Nothing => (active, None, Ok(())),
            Step::Wait(wait) => (active, Some(wait), Ok(())),
            Step::Create(missing) => self.create(active, missing).await,
            Step::Remove(doomed) => {
                let count = number(doomed.len());
                let outcome = self.remove(doomed).await;
                let left = if outcome.is_ok() {
                    active - count
                } else {
                    active
                };
                (left, None, outcome)
            }
        }
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
        let pods = Pods {
            api: &controller.api,
            recorder: &controller.recorder,
            expectations: &controller.expectations,
            key: self.key,
            owner: &self.job,
        };
        let new = |i: usize| {
            let replaced = places[i].and_then(|index| self.delayed.get(&index));
            new_pod(&self.job, places[i], replaced.map(|pod| &**pod))
        };
        let (created, failure) = pods.create(places.len(), new).await;
        (active + number(created), again, failure.map_or(Ok(()), Err))
    }
}
