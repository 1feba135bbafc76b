//! What a Job's pods amount to: how many have succeeded and failed, whether that ends the Job, and what is to be made or deleted.
//!
//! Invariant: pure: it hangs on the Job, its pods and the time alone. Follows pkg/controller/job/job_controller.go (syncJob, manageJob).

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::batch::v1::{Job, JobCondition, JobStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use skiff_podspec::pod::Pod;

use super::{
    backoff::{self, Backoff},
    create::{failures, index_of, is_indexed},
    indexes::{self, Indexes, total},
    is_tracked,
    policy::{self, Failure, is_failed, only_replaces_failed},
};
use crate::{
    clock::{since, whole_seconds},
    pods,
    prelude::*,
};

/// How many pods one pass creates or deletes at most.
const MOST: usize = 500;
pub const FAILURE_TARGET: &str = "FailureTarget";
pub const SUCCESS_CRITERIA_MET: &str = "SuccessCriteriaMet";
pub const COMPLETE: &str = "Complete";
pub const FAILED: &str = "Failed";

/// Everything that is known of a Job in one pass.
pub struct Count {
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
    pub now: Timestamp,
    /// Of `pods`, those that have lost their finalizer already.
    pub released: HashSet<String>,
}

/// What is to be done about a Job's pods.
#[derive(Debug, PartialEq)]
pub enum Step {
    Nothing,
    /// These are too many.
    Remove(Vec<Arc<Pod>>),
    /// Some are missing, and are not to be made before this time has passed.
    Wait(Duration),
    /// So many are missing.
    Create(usize),
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

pub fn number(count: usize) -> i32 {
    i32::try_from(count).unwrap_or(i32::MAX)
}

pub fn is_suspended(job: &Job) -> bool {
    job.spec().suspend.unwrap_or(false)
}

impl Count {
    /// What the Job's pods amount to.
    pub fn of(
        mut job: Job,
        pods: Vec<Arc<Pod>>,
        released: HashSet<String>,
        backoff: Backoff,
        now: Timestamp,
    ) -> Self {
        let status = job.status.get_or_insert_default();
        status.uncounted_terminated_pods.get_or_insert_default();
        let active: Vec<_> = pods.iter().filter(pods::is_active).cloned().collect();
        let completions = job.spec().completions.unwrap_or(0);
        let status = job.status.clone().unwrap_or_default();
        let done_before = indexes::parse(
            status.completed_indexes.as_deref().unwrap_or(""),
            completions,
        );
        let mut count = Count {
            ready: number(active.iter().filter(pods::is_ready).count()),
            terminating: number(pods.iter().filter(pods::is_terminating).count()),
            active,
            pods,
            succeeded: 0,
            failed: 0,
            done: done_before.clone(),
            done_before,
            failed_indexes: None,
            delayed: HashMap::new(),
            end: None,
            backoff,
            released,
            job,
            now,
        };
        count.count(&status);
        if count.job.status().start_time.is_none() && !is_suspended(&count.job) {
            count.job.status.get_or_insert_default().start_time = Some(Time(whole_seconds(now)));
        }
        count
    }

    /// Pods that were not counted before and are to be now, of those that pass `test`.
    fn uncounted(&self, counted: &[String], test: impl Fn(&Pod) -> bool) -> Vec<Arc<Pod>> {
        let fits = |pod: &&Arc<Pod>| {
            let uid = pod.metadata.uid();
            is_tracked(pod)
                && !counted.iter().any(|c| c == uid)
                && !self.released.contains(uid)
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
    pub fn judge(&mut self) -> Option<Duration> {
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

    /// The first indexes without a pod, and how long those in back-off have to wait.
    pub fn pending_indexes(&self, count: usize) -> (Vec<i32>, Option<Duration>) {
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
                    .filter(pods::is_terminating)
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

    /// What is missing or too much.
    pub fn step(&self) -> Step {
        let active = number(self.active.len());
        if is_suspended(&self.job) {
            return match self.active.as_slice() {
                [] => Step::Nothing,
                all => Step::Remove(all.to_vec()),
            };
        }
        let spec = self.job.spec();
        let parallelism = spec.parallelism.unwrap_or(1);
        let wanted = match spec.completions {
            None if self.succeeded > 0 => active,
            None => parallelism,
            Some(completions) => (completions - self.succeeded).clamp(0, parallelism),
        };
        let mut doomed = self.surplus(usize::try_from(active - wanted).unwrap_or(0));
        doomed.truncate(MOST);
        if !doomed.is_empty() {
            return Step::Remove(doomed);
        }
        let leaving = if only_replaces_failed(&self.job) {
            self.terminating
        } else {
            0
        };
        let missing = usize::try_from(wanted - leaving - active).unwrap_or(0);
        let wait = self.backoff.remaining(self.now);
        match missing {
            0 => Step::Nothing,
            _ if spec.backoff_limit_per_index.is_none() && !wait.is_zero() => Step::Wait(wait),
            _ => Step::Create(missing.min(MOST)),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, from_str, from_value, json};

    use super::*;

    /// Pods of the Job, each `PHASE`, `PHASE:INDEX` or `PHASE:INDEX/RESTARTS`, with no index below 0. Failed ones ended a second ago.
    fn pods(text: &str) -> Vec<Arc<Pod>> {
        let pod = |(at, word): (usize, &str)| {
            let (phase, rest) = word.split_once(':').unwrap_or((word, "-1"));
            let (index, restarts) = rest.split_once('/').unwrap_or((rest, "0"));
            let annotations = match index {
                "-1" => json!({}),
                index => json!({"batch.kubernetes.io/job-completion-index": index}),
            };
            let state = match phase {
                "Failed" => {
                    json!({"terminated": {"exitCode": 1, "finishedAt": "1970-01-01T00:16:39Z"}})
                }
                _ => json!({}),
            };
            let restarts: i32 = restarts.parse().unwrap();
            let container = json!({"name": "c", "image": "", "imageID": "", "ready": false, "restartCount": restarts, "state": state});
            let (name, finalizers) = (format!("p{at}"), [super::super::FINALIZER]);
            let meta = json!({"name": name, "uid": name, "annotations": annotations, "finalizers": finalizers});
            let status = json!({"phase": phase, "containerStatuses": [container]});
            Arc::new(
                from_value(json!({"metadata": meta, "spec": {"containers": []}, "status": status}))
                    .unwrap(),
            )
        };
        text.split_whitespace().enumerate().map(pod).collect()
    }

    /// What ends the Job, and what is to be done about its pods if nothing does.
    fn case(spec: &str, status: &str, text: &str) -> [String; 2] {
        let mut all =
            json!({"template": {"spec": {"containers": [], "restartPolicy": "OnFailure"}}});
        let (spec, status): (Value, Value) = (from_str(spec).unwrap(), from_str(status).unwrap());
        skiff_api::machinery::patch::merge::apply(&mut all, spec, false).unwrap();
        let job =
            from_value(json!({"metadata": {"name": "j"}, "spec": all, "status": status})).unwrap();
        let now = Timestamp::from_second(1_000).unwrap();
        let mut count = Count::of(job, pods(text), HashSet::new(), Backoff::default(), now);
        count.judge();
        let words =
            |end: &JobCondition| format!("{} {}", end.type_, end.reason.as_deref().unwrap_or(""));
        let step = match count.step() {
            Step::Nothing => "nothing".into(),
            Step::Wait(_) => "wait".into(),
            Step::Create(missing) => format!("create {missing}"),
            Step::Remove(doomed) => format!("remove {}", doomed.len()),
        };
        [count.end.as_ref().map(words).unwrap_or_default(), step]
    }

    #[test]
    fn what_ends_a_job_and_what_is_to_be_done_else() {
        let table = r#"
            a new one            | {"completions": 2, "parallelism": 2} | {} |                         |  | create 2
            some run             | {"completions": 2, "parallelism": 2} | {} | Running Pending         |  | nothing
            one is done          | {"completions": 2, "parallelism": 2} | {} | Running Succeeded       |  | nothing
            one is left          | {"completions": 3, "parallelism": 1} | {} | Succeeded Succeeded     |  | create 1
            too many             | {"completions": 3, "parallelism": 1} | {} | Running Running         |  | remove 1
            none follow the last | {"parallelism": 2}                   | {} | Running Succeeded       |  | nothing
            suspended            | {"suspend": true}                    | {} | Running Running         |  | remove 2
            one failed just now  | {"completions": 2, "parallelism": 2} | {} | Failed Running          |  | wait
            too many failed      | {"backoffLimit": 1} | {}            | Failed Failed               | FailureTarget BackoffLimitExceeded | wait
            failed before, too   | {"backoffLimit": 1} | {"failed": 1} | Failed                      | FailureTarget BackoffLimitExceeded | wait
            restarts count       | {"backoffLimit": 3} | {}            | Running:-1/2 Running:-1/1   | FailureTarget BackoffLimitExceeded | remove 1
            too long             | {"activeDeadlineSeconds": 999}  | {"startTime": "1970-01-01T00:00:00Z"} | Running | FailureTarget DeadlineExceeded | nothing
            not too long yet     | {"activeDeadlineSeconds": 1001} | {"startTime": "1970-01-01T00:00:00Z"} | Running | | nothing
            decided before       | {} | {"conditions": [{"type": "FailureTarget", "status": "True", "reason": "R"}]} | Running | Failed R | nothing
            indexes              | {"completionMode": "Indexed", "completions": 3, "parallelism": 3} | {} | Running:0 Succeeded:1         | | create 1
            an index twice       | {"completionMode": "Indexed", "completions": 3, "parallelism": 3} | {} | Running:0 Running:0 Running:1 | | remove 1
            indexes done before  | {"completionMode": "Indexed", "completions": 3, "parallelism": 3} | {"completedIndexes": "0,2"} | Running:1 | | nothing
            an index for good    | {"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 0, "maxFailedIndexes": 0} | {} | Failed:0 Running:1 | FailureTarget MaxFailedIndexesExceeded | create 2
            all done or failed   | {"completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimitPerIndex": 0} | {} | Failed:0 Succeeded:1 Succeeded:2 | FailureTarget FailedIndexes | create 1
            enough for a policy  | {"completionMode": "Indexed", "completions": 3, "parallelism": 3, "successPolicy": {"rules": [{"succeededIndexes": "1"}]}} | {} | Running:0 Succeeded:1 | SuccessCriteriaMet SuccessPolicy | create 1
        "#;
        for [what, spec, status, pods, end, step] in skiff_testing::table::rows(table) {
            assert_eq!(case(spec, status, pods), [end, step], "{what}");
        }
    }
}
