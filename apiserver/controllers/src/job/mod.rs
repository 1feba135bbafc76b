//! The Job controller: runs pods until enough have succeeded, or too many have failed.
//!
//! Invariant: every ended pod is counted exactly once: it keeps a finalizer until the status that counts it is written.
//! Follows pkg/controller/job/job_controller.go.

mod backoff;
mod count;
mod create;
mod indexes;
mod pass;
mod policy;
mod released;
mod track;

use std::{collections::HashMap, time::Duration};

use k8s_openapi::api::batch::v1::Job;
use serde_json::json;
use skiff_podspec::pod::Pod;

use self::{backoff::Backoff, released::Released};
use crate::{
    dependents::{self, Selecting, candidates, owner_of},
    owners::{claim_all_held, controller_of},
    pods,
    prelude::*,
};

/// The finalizer of pods that are not counted yet.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
const OURSELVES: &str = "kubernetes.io/job-controller";

/// Less eager than others, as a failure is often told of.
const RETRY: Retry = Retry {
    first: Duration::from_secs(1),
    longest: Duration::from_secs(60),
};

/// Changes of pods that come within this time are counted together while others of the same Job are under way, so that pods which end side by
/// side are all counted as ended and none is deleted because another one came first.
const BATCH: Duration = Duration::from_secs(1);

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    jobs: Fresh<Job>,
    pods: Informer<Pod>,
    expectations: Expectations,
    released: Released,
    backoffs: Mutex<HashMap<Key, Backoff>>,
}

/// Takes the finalizer off pods that no Job will count any more.
struct Orphans(Arc<Controller>);

/// `job-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let orphans = context.queue::<Key>("job_orphan_pod");
    let c = context.wire(
        "job",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder("job-controller"),
            jobs: context.fresh(),
            pods: context.informer(),
            expectations: Expectations::new(context.clock.clone()),
            released: Released::default(),
            backoffs: Mutex::default(),
        },
    );
    let (of_jobs, of_pods) = (orphans.clone(), orphans.clone());
    c.each(&c.jobs);
    c.on(&c.jobs, move |c, change, _| {
        let job = change.object();
        if matches!(change, Change::Deleted(_)) || is_finished(job) {
            let pods = c.pods.owned_by(job.metadata.uid());
            wake(&of_jobs, pods.into_iter().filter(|pod| is_tracked(pod)));
        }
    });
    c.on(&c.pods, move |c, change, queue| {
        c.pod_changed(change, queue, &of_pods)
    });
    let (controller, _) = c.parts();
    let releasing = context.some_workers(1, Arc::new(Orphans(controller)), orphans);
    Ok(c.workers_and(releasing))
}

/// Whether the pod waits to be counted.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata.has_finalizer(FINALIZER)
}

/// The terminal condition of a Job, if it has one.
pub fn finished_condition(job: &Job) -> Option<&k8s_openapi::api::batch::v1::JobCondition> {
    let conditions = job.status().conditions.as_ref()?;
    conditions
        .iter()
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
}

/// Whether the Job has completed or failed.
pub fn is_finished(job: &Job) -> bool {
    finished_condition(job).is_some()
}

/// Whether someone else looks after the Job.
fn is_managed_elsewhere(job: &Job) -> bool {
    job.spec()
        .managed_by
        .as_deref()
        .is_some_and(|m| m != OURSELVES)
}

impl Controller {
    fn pod_changed(&self, change: &Change<Pod>, queue: &Queue<Key>, orphans: &Queue<Key>) {
        let pod = change.object();
        let gone = matches!(change, Change::Deleted(_));
        let owner = owner_of(&self.jobs, &pod.metadata);
        if is_tracked(pod) && !gone && owner.is_none_or(|job| is_finished(&job)) {
            orphans.add(Key::of(&pod.metadata));
        }
        let pause = self.pause(change);
        dependents::heard_of_pod(&self.jobs, &self.expectations, change, &|key| {
            queue.add_after(key, pause);
        });
    }

    /// How long what comes after a change of a pod is waited for: not at all once nothing of the Job is under way.
    fn pause(&self, change: &Change<Pod>) -> Duration {
        let pod = change.object();
        let goes_on = !matches!(change, Change::Deleted(_)) && pods::is_active(pod);
        let others = || {
            let job = controller_of(&pod.metadata);
            job.is_some_and(|job| self.pods.owns_any(&job.uid, pods::is_active))
        };
        if goes_on || others() {
            BATCH
        } else {
            Duration::ZERO
        }
    }

    /// Takes the finalizer off a pod; true when it was there to be taken.
    async fn release(&self, pod: &Pod) -> Result<bool, Error> {
        if !is_tracked(pod) {
            return Ok(false);
        }
        let patch = json!({"metadata": {"uid": pod.metadata.uid(), "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
        let outcome = self
            .api
            .amend::<Pod>(&Key::of(&pod.metadata), PatchType::Strategic, &patch)
            .await;
        Ok(outcome?.is_some())
    }

    /// Takes the finalizer off a pod that the Job counts.
    async fn release_counted(&self, job: &Key, pod: &Pod) -> Result<(), Error> {
        self.released.insert(job, pod.metadata.uid());
        let outcome = self.release(pod).await;
        if !matches!(outcome, Ok(true)) {
            self.released.remove(job, pod.metadata.uid());
        }
        outcome.map(drop)
    }
}

impl Reconcile<Key> for Orphans {
    const NAME: &'static str = "job-controller";
    const RETRY: Retry = RETRY;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let controller = &self.0;
        let Some(pod) = controller.pods.get(key).filter(|pod| is_tracked(pod)) else {
            return Ok(Next::DONE);
        };
        if let Some(owner) = controller_of(&pod.metadata)
            && (owner.kind != "Job" || owner.api_version != "batch/v1")
        {
            return Ok(Next::DONE);
        }
        match owner_of(&controller.jobs, &pod.metadata) {
            Some(job) if is_managed_elsewhere(&job) || !is_finished(&job) => {}
            _ => {
                controller.release(&pod).await?;
            }
        }
        Ok(Next::DONE)
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "job-controller";
    const RETRY: Retry = RETRY;

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.jobs.catch_up(key).await;
        let Some(job) = self.jobs.get(key) else {
            self.expectations.forget(key);
            self.released.forget(key);
            self.backoffs.lock().remove(key);
            return Ok(Next::DONE);
        };
        if is_managed_elsewhere(&job) {
            return Ok(Next::DONE);
        }
        if is_finished(&job) {
            self.released.forget(key);
            self.backoffs.lock().remove(key);
            return Ok(Next::DONE);
        }
        if !matches!(
            job.spec().completion_mode.as_deref(),
            None | Some("NonIndexed" | "Indexed")
        ) {
            self.recorder.warning(
                &*job,
                "UnknownCompletionMode",
                "Skipped Job sync because completion mode is unknown",
            );
            return Ok(Next::DONE);
        }
        if job.spec().selector.is_none() {
            return Err(failed!(
                "Job {key} has no selector: its pods could not be told from others"
            ));
        }
        let selector = job.selector()?;
        let settled = self.expectations.satisfied(key);
        let candidates = candidates(&*job, &self.pods);
        let fits = |pod: &Pod| selector.matches(&pod.metadata.labels.as_ref());
        let pods = claim_all_held(&self.api, &*job, candidates, fits, Some(FINALIZER)).await?;
        self.sync(key, (*job).clone(), settled, pods).await
    }
}
