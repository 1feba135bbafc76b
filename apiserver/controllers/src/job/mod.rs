//! The Job controller: runs pods until enough have succeeded, or too many have failed.
//!
//! Invariant: every ended pod is counted exactly once: it keeps a finalizer until the status that counts it is written.
//! Follows pkg/controller/job/job_controller.go.

mod backoff;
mod create;
mod indexes;
mod pass;
mod policy;
mod track;

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use k8s_openapi::api::{batch::v1::Job, core::v1::Pod};
use serde_json::json;

use self::{backoff::Backoff, policy::spec};
use crate::{
    api::{Api, PatchType, item},
    clock::Clock,
    error::{Error, unless_gone},
    events::Recorder,
    expectations::{Expectations, Wrote},
    informer::{Change, Informer},
    key::Key,
    labels::Selector,
    list::Work,
    owners::{claim_all, controller_of},
    pods::{self, name},
    queue::Queue,
    runner::{Context, Next, Reconcile},
};

/// The finalizer of pods that are not counted yet.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
const OURSELVES: &str = "kubernetes.io/job-controller";

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    jobs: Informer<Job>,
    pods: Informer<Pod>,
    expectations: Arc<Expectations>,
    wrote: Wrote,
    /// Pods whose finalizer was removed, as the cache does not show yet.
    released: Mutex<HashSet<String>>,
    backoffs: Mutex<HashMap<Key, Backoff>>,
}

/// Takes the finalizer off pods that no Job will count any more.
struct Orphans(Arc<Controller>);

/// `job-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let (queue, orphans) = (context.queue::<Key>(), context.queue::<Key>());
    let controller = Arc::new(Controller {
        api: context.api.clone(),
        clock: context.clock.clone(),
        recorder: context.recorder("job-controller"),
        jobs: context.informer(),
        pods: context.informer(),
        expectations: Arc::new(Expectations::new(context.clock.clone())),
        wrote: Wrote::default(),
        released: Mutex::default(),
        backoffs: Mutex::default(),
    });
    let (q, o, watcher) = (queue.clone(), orphans.clone(), controller.clone());
    controller.jobs.subscribe(move |change| {
        let job = change.object();
        q.add(Key::of(&job.metadata));
        let over = matches!(change, Change::Deleted(_)) || is_finished(job);
        if over {
            watcher
                .pods
                .owned_by(job.metadata.uid.as_deref().unwrap_or(""))
                .iter()
                .filter(|pod| is_tracked(pod))
                .for_each(|pod| o.add(Key::of(&pod.metadata)));
        }
    });
    let (q, o, watcher) = (queue.clone(), orphans.clone(), controller.clone());
    controller
        .pods
        .subscribe(move |change| watcher.pod_changed(change, &q, &o));
    let releasing = context.some_workers(1, Arc::new(Orphans(controller.clone())), orphans);
    let syncing = context.workers(controller, queue);
    Ok(Some(Box::pin(async move {
        futures::future::join(syncing, releasing).await;
    })))
}

/// Whether the pod waits to be counted.
pub fn is_tracked(pod: &Pod) -> bool {
    pod.metadata
        .finalizers
        .iter()
        .flatten()
        .any(|f| f == FINALIZER)
}

/// The terminal condition of a Job, if it has one.
pub fn finished_condition(job: &Job) -> Option<&k8s_openapi::api::batch::v1::JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions
        .iter()
        .find(|c| matches!(c.type_.as_str(), "Complete" | "Failed") && c.status == "True")
}

/// Whether the Job has completed or failed.
pub fn is_finished(job: &Job) -> bool {
    finished_condition(job).is_some()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether someone else looks after the Job.
fn is_managed_elsewhere(job: &Job) -> bool {
    spec(job)
        .managed_by
        .as_deref()
        .is_some_and(|m| m != OURSELVES)
}

impl Controller {
    fn owner(&self, pod: &Pod) -> Option<Arc<Job>> {
        let owner = controller_of(&pod.metadata)
            .filter(|r| r.kind == "Job" && r.api_version == "batch/v1")?;
        let job = self.jobs.get(&Key::new(
            pod.metadata.namespace.as_deref().unwrap_or(""),
            &owner.name,
        ))?;
        (job.metadata.uid.as_ref() == Some(&owner.uid)).then_some(job)
    }

    fn pod_changed(&self, change: &Change<Pod>, queue: &Queue<Key>, orphans: &Queue<Key>) {
        let pod = change.object();
        let going = pods::is_deleting(pod) || matches!(change, Change::Deleted(_));
        if !is_tracked(pod) || matches!(change, Change::Deleted(_)) {
            lock(&self.released).remove(pod.metadata.uid.as_deref().unwrap_or(""));
        }
        let owner = self.owner(pod);
        let wants_release = owner.as_ref().is_none_or(|job| is_finished(job))
            && !matches!(change, Change::Deleted(_));
        if is_tracked(pod) && wants_release {
            orphans.add(Key::of(&pod.metadata));
        }
        let Some(job) = owner else {
            if controller_of(&pod.metadata).is_none() && !going {
                self.wake_takers(pod, queue);
            }
            return;
        };
        let key = Key::of(&job.metadata);
        if going {
            self.expectations
                .deletion_observed(&key, &Key::of(&pod.metadata));
        } else if matches!(change, Change::Added(_)) {
            self.expectations.creation_observed(&key);
        }
        queue.add(key);
    }

    fn wake_takers(&self, pod: &Pod, queue: &Queue<Key>) {
        for job in self
            .jobs
            .in_namespace(pod.metadata.namespace.as_deref().unwrap_or(""))
        {
            if selector_of(&job)
                .is_ok_and(|s| !s.is_everything() && s.matches(pod.metadata.labels.as_ref()))
            {
                queue.add(Key::of(&job.metadata));
            }
        }
    }

    /// Takes the finalizer off a pod.
    async fn release(&self, pod: &Pod) -> Result<(), Error> {
        if !is_tracked(pod) {
            return Ok(());
        }
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        lock(&self.released).insert(uid.clone());
        let patch =
            json!({"metadata": {"uid": uid, "$deleteFromPrimitiveList/finalizers": [FINALIZER]}});
        let path = item::<Pod>(
            pod.metadata.namespace.as_deref().unwrap_or(""),
            name(&pod.metadata),
        );
        let outcome = unless_gone(self.api.patch(&path, PatchType::Strategic, &patch).await);
        if !matches!(outcome, Ok(Some(_))) {
            lock(&self.released).remove(&uid);
        }
        outcome.map(drop)
    }
}

fn selector_of(job: &Job) -> Result<Selector, Error> {
    Selector::of(spec(job).selector.as_ref())
}

impl Reconcile<Key> for Orphans {
    const NAME: &'static str = "job-controller";

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
        match controller.owner(&pod) {
            Some(job) if is_managed_elsewhere(&job) || !is_finished(&job) => {}
            _ => controller.release(&pod).await?,
        }
        Ok(Next::DONE)
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "job-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if let Some(version) = self.wrote.take(key) {
            self.jobs.reach(version, &self.clock).await;
        }
        let Some(job) = self.jobs.get(key) else {
            self.expectations.forget(key);
            lock(&self.backoffs).remove(key);
            return Ok(Next::DONE);
        };
        if is_managed_elsewhere(&job) {
            return Ok(Next::DONE);
        }
        if is_finished(&job) {
            lock(&self.backoffs).remove(key);
            return Ok(Next::DONE);
        }
        if !matches!(
            spec(&job).completion_mode.as_deref(),
            None | Some("NonIndexed" | "Indexed")
        ) {
            self.recorder.warning(
                &*job,
                "UnknownCompletionMode",
                "Skipped Job sync because completion mode is unknown",
            );
            return Ok(Next::DONE);
        }
        if spec(&job).selector.is_none() {
            return Err(Error::Failed(format!(
                "Job {key} has no selector: its pods could not be told from others"
            )));
        }
        let selector = selector_of(&job)?;
        let mut candidates = self
            .pods
            .owned_by(job.metadata.uid.as_deref().unwrap_or(""));
        candidates.extend(self.pods.orphans(key.namespace()));
        let pods = claim_all(&self.api, &*job, candidates, |pod: &Pod| {
            selector.matches(pod.metadata.labels.as_ref())
        })
        .await?;
        self.sync(key, (*job).clone(), pods).await
    }
}
