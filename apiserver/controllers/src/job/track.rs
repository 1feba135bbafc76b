//! Counting a Job's ended pods, and writing its status.
//!
//! Invariant: first the status says which pods are about to be counted, then their finalizers go, then they are counted: whatever breaks
//! off in between, none is lost and none counted twice. Follows pkg/controller/job/job_controller.go
//! (trackJobStatusAndRemoveFinalizers).

use std::{collections::HashSet, sync::Arc};

use futures::future::join_all;
use k8s_openapi::api::batch::v1::{Job, JobStatus};
use skiff_podspec::parts::{HasSpec, HasStatus, Meta};
use skiff_podspec::pod::Pod;

use super::{
    count::{COMPLETE, FAILED, FAILURE_TARGET, SUCCESS_CRITERIA_MET, condition, find},
    create::{index_of, is_indexed},
    indexes, is_tracked,
    pass::{Pass, ensure},
    policy::{self, Failure, is_failed},
};
use crate::{error::Error, pods};

/// How many pods wait to be counted in the status at most.
const MOST_UNCOUNTED: usize = 500;

/// Counts the pods that have no finalizer any more; true when there was one.
fn count_released(status: &mut JobStatus, tracked: &HashSet<String>) -> bool {
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let settle = |list: &mut Option<Vec<String>>, counter: &mut Option<i32>| {
        let Some(waiting) = list else { return false };
        let before = waiting.len();
        waiting.retain(|uid| tracked.contains(uid));
        let settled = before - waiting.len();
        if waiting.is_empty() {
            *list = None;
        }
        if settled > 0 {
            *counter = Some(counter.unwrap_or(0) + i32::try_from(settled).unwrap_or(i32::MAX));
        }
        settled > 0
    };
    let succeeded = settle(&mut uncounted.succeeded, &mut status.succeeded);
    settle(&mut uncounted.failed, &mut status.failed) || succeeded
}

fn waits(list: &Option<Vec<String>>, uid: &str) -> bool {
    list.iter().flatten().any(|u| u == uid)
}

impl Pass<'_> {
    fn status(&mut self) -> &mut JobStatus {
        self.job.status.get_or_insert_default()
    }

    async fn put(&mut self) -> Result<(), Error> {
        let written: Job = self
            .controller
            .api
            .update_status(&self.job)
            .await
            .map_err(|e| failed!("tracking status: {e}"))?;
        self.controller.jobs.note(self.key, &written.metadata);
        self.job = written;
        self.status()
            .uncounted_terminated_pods
            .get_or_insert_default();
        Ok(())
    }

    /// Writes what this pass found; with `active` pods left, and `flush` when something changed already.
    pub async fn track(&mut self, active: i32, flush: bool) -> Result<(), Error> {
        let (ready, terminating) = (Some(self.ready), Some(self.terminating));
        let status = self.status();
        let mut flush = flush
            || status.active.unwrap_or(0) != active
            || status.ready != ready
            || status.terminating != terminating;
        status.active = (active != 0).then_some(active);
        (status.ready, status.terminating) = (ready, terminating);
        let live = |pod: &&Arc<Pod>| is_tracked(pod) && !self.released.contains(pod.metadata.uid());
        let tracked: Vec<Arc<Pod>> = self.pods.iter().filter(live).cloned().collect();
        let mut uids: HashSet<String> = tracked
            .iter()
            .filter_map(|pod| pod.metadata.uid.clone())
            .collect();
        flush |= count_released(self.status(), &uids);
        let (release, noted, full) = self.note_ended(&tracked);
        flush |= noted;
        flush |= self.note_indexes();
        flush |= self.turn_end();
        if flush {
            self.put().await?;
            self.controller
                .backoffs
                .lock()
                .insert(self.key.clone(), self.backoff);
        }
        let results = join_all(
            release
                .iter()
                .map(|pod| self.controller.release_counted(self.key, pod)),
        )
        .await;
        let mut errors = Vec::new();
        for (pod, result) in release.iter().zip(results) {
            match result {
                Ok(()) => drop(uids.remove(pod.metadata.uid())),
                Err(error) => errors.push(error),
            }
        }
        let mut again = count_released(self.status(), &uids);
        if errors.is_empty() {
            let finished = !full && self.finish();
            again |= finished;
            if again {
                self.put().await?;
            }
            if finished {
                self.announce();
            }
            return Ok(());
        }
        if again {
            self.put().await?;
        }
        Error::collect(errors)
    }

    /// Notes ended pods in the status; gives those whose finalizer can go, whether something was noted, and whether that is all for now.
    fn note_ended(&mut self, tracked: &[Arc<Pod>]) -> (Vec<Arc<Pod>>, bool, bool) {
        let (mut release, mut noted, mut new_indexes) = (Vec::new(), false, 0);
        let indexed = is_indexed(&self.job);
        for pod in tracked {
            let failed = is_failed(&self.job, pod);
            if !self.can_release(pod, failed) {
                continue;
            }
            release.push(pod.clone());
            let (uid, index) = (
                pod.metadata.uid.clone().unwrap_or_default(),
                index_of(&self.job, pod),
            );
            let ends_badly = self
                .end
                .as_ref()
                .is_some_and(|end| end.type_ != SUCCESS_CRITERIA_MET);
            let counts = policy::judge(&self.job, pod) != Failure::Ignore;
            let done_before = index.is_some_and(|i| self.done_before.contains(&i));
            let uncounted = self
                .status()
                .uncounted_terminated_pods
                .get_or_insert_default();
            if pods::phase(pod) == "Succeeded" && !waits(&uncounted.failed, &uid) {
                if indexed {
                    new_indexes += usize::from(index.is_some() && !done_before);
                } else if !waits(&uncounted.succeeded, &uid) {
                    uncounted.succeeded.get_or_insert_default().push(uid);
                    noted = true;
                }
            } else if (failed || ends_badly)
                && !waits(&uncounted.failed, &uid)
                && (!indexed || index.is_some())
                && counts
            {
                uncounted.failed.get_or_insert_default().push(uid);
                noted = true;
            }
            let waiting = uncounted.succeeded.as_ref().map_or(0, Vec::len)
                + uncounted.failed.as_ref().map_or(0, Vec::len);
            if waiting + new_indexes >= MOST_UNCOUNTED {
                return (release, true, true);
            }
        }
        (release, noted || new_indexes > 0, false)
    }

    fn can_release(&self, pod: &Pod, failed: bool) -> bool {
        if self.job.metadata.deletion_timestamp.is_some()
            || self.end.is_some()
            || pods::phase(pod) == "Succeeded"
        {
            return true;
        }
        let waits = || {
            index_of(&self.job, pod)
                .and_then(|i| self.delayed.get(&i))
                .is_some_and(|delayed| delayed.metadata.uid == pod.metadata.uid)
        };
        failed && !waits()
    }

    fn note_indexes(&mut self) -> bool {
        if !is_indexed(&self.job) {
            return false;
        }
        let done = indexes::format(&self.done);
        let failed = self.failed_indexes.as_ref().map(indexes::format);
        let total = indexes::total(&self.done);
        let status = self.status();
        let changed = status.completed_indexes.as_deref().unwrap_or("") != done
            || status.failed_indexes != failed;
        status.succeeded = (total != 0).then_some(total);
        status.completed_indexes = (!done.is_empty()).then_some(done);
        status.failed_indexes = failed;
        changed
    }

    /// Notes the intermediate condition, and turns the end into the terminal one that follows it.
    fn turn_end(&mut self) -> bool {
        let Some(end) = self.end.clone() else {
            return false;
        };
        let terminal = |kind: &str| {
            condition(
                kind,
                end.reason.as_deref().unwrap_or(""),
                end.message.as_deref().unwrap_or(""),
                self.controller.clock.now(),
            )
        };
        match end.type_.as_str() {
            FAILURE_TARGET => {
                self.end = Some(terminal(FAILED));
                self.status().conditions.get_or_insert_default().push(end);
                true
            }
            SUCCESS_CRITERIA_MET => {
                self.end = Some(terminal(COMPLETE));
                let missing = find(self.status(), SUCCESS_CRITERIA_MET).is_none();
                if missing {
                    self.status().conditions.get_or_insert_default().push(end);
                }
                missing
            }
            _ => false,
        }
    }

    /// Writes the terminal condition once all pods are counted and gone.
    fn finish(&mut self) -> bool {
        let Some(end) = self.end.clone() else {
            return false;
        };
        let still_running = self.terminating > 0;
        let status = self.status();
        let uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        if still_running
            || uncounted.succeeded.is_some_and(|u| !u.is_empty())
            || uncounted.failed.is_some_and(|u| !u.is_empty())
        {
            return false;
        }
        if end.type_ == COMPLETE {
            status.completion_time = end.last_transition_time.clone();
        }
        ensure(status, end);
        true
    }

    fn announce(&self) {
        let Some(end) = &self.end else { return };
        let recorder = &self.controller.recorder;
        if end.type_ != COMPLETE {
            recorder.warning(
                &self.job,
                end.reason.as_deref().unwrap_or(""),
                end.message.clone().unwrap_or_default(),
            );
            return;
        }
        let succeeded = self.job.status().succeeded.unwrap_or(0);
        if self
            .job
            .spec()
            .completions
            .is_some_and(|wanted| succeeded > wanted)
        {
            recorder.warning(
                &self.job,
                "TooManySucceededPods",
                "Too many succeeded pods running after completion count reached",
            );
        }
        recorder.normal(&self.job, "Completed", "Job completed");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::batch::v1::UncountedTerminatedPods;

    #[test]
    fn pods_are_counted_when_their_finalizer_is_gone() {
        let uncounted = UncountedTerminatedPods {
            succeeded: Some(vec!["a".into(), "b".into()]),
            failed: Some(vec!["c".into()]),
        };
        let mut status = JobStatus {
            succeeded: Some(1),
            uncounted_terminated_pods: Some(uncounted),
            ..Default::default()
        };
        assert!(count_released(
            &mut status,
            &HashSet::from(["b".to_string()])
        ));
        assert_eq!((status.succeeded, status.failed), (Some(2), Some(1)));
        assert_eq!(
            status.uncounted_terminated_pods.as_ref().unwrap().succeeded,
            Some(vec!["b".to_string()])
        );
        assert!(!count_released(
            &mut status,
            &HashSet::from(["b".to_string()])
        ));
    }
}
