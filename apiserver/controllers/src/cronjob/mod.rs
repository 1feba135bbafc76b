//! The CronJob controller: makes a Job whenever the schedule says so, and clears away old ones.
//!
//! Invariant: a Job's name follows from its minute, so that no time is served twice. Follows
//! pkg/controller/cronjob/cronjob_controllerv2.go and utils.go.

mod decide;
mod missed;

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{CronJob, Job},
        core::v1::ObjectReference,
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};

use skiff_api::machinery::cron::{self, Schedule};
use skiff_api::machinery::quote::GoQuoted;

use self::{
    decide::{Told, active, drop_active, is_active, job_name, scheduled_at},
    missed::{Look, Missed, due, look, next_wait},
};
use crate::{
    job::is_finished,
    owners::{controller_of, controller_ref, is_controlled_by},
    prelude::*,
};

const SCHEDULED_AT: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";

struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    crons: Fresh<CronJob>,
    jobs: Fresh<Job>,
}

/// `cronjob-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "cronjob",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder("cronjob-controller"),
            crons: context.fresh(),
            jobs: context.fresh(),
        },
    );
    c.on(&c.crons, |c, change, queue| c.changed(change, queue));
    c.on(&c.jobs, |_, change, queue| {
        let owner = |job: &Job| {
            controller_of(&job.metadata)
                .filter(|r| r.kind == "CronJob")
                .map(|r| Key::new(job.metadata.namespace(), &r.name))
        };
        let before = match change {
            Change::Updated { old, .. } => owner(old),
            _ => None,
        };
        before
            .into_iter()
            .chain(owner(change.object()))
            .for_each(|key| queue.add(key));
    });
    Ok(c.workers())
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "cronjob-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.crons.catch_up(key).await;
        self.jobs.catch_up(key).await;
        let Some(cron) = self.crons.get(key) else {
            return Ok(Next::DONE);
        };
        let mut update = (*cron).clone();
        let jobs = self.jobs.owned_by(cron.metadata.uid());
        // what goes at once is not told of as completed
        self.clear_away(&mut update, &jobs).await;
        let outcome = self.sync(key, &mut update, &jobs).await;
        if update.status != cron.status {
            let written = self.api.update_status(&update).await?;
            self.crons.note(key, &written.metadata);
        }
        Ok(Next::maybe_after(outcome?))
    }
}

impl Controller {
    fn changed(&self, change: &Change<CronJob>, queue: &Queue<Key>) {
        let cron = change.object();
        let key = Key::of(&cron.metadata);
        match look(change, self.clock.now()) {
            Look::Now => queue.add(key),
            Look::After(wait) => queue.add_after(key, wait),
            Look::Never => {
                let message = format!("unparseable schedule for cronjob: {}", cron.spec.schedule);
                self.recorder
                    .warning(&**cron, "UnParseableCronJobSchedule", message);
            }
        }
    }

    /// Follows the Jobs, and makes a new one if it is time; gives how long until the next.
    async fn sync(
        &self,
        key: &Key,
        cron: &mut CronJob,
        jobs: &[Arc<Job>],
    ) -> Result<Option<Duration>, Error> {
        self.follow(cron, jobs).await?;
        if cron.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let zone_name = cron.spec.time_zone.clone().unwrap_or_default();
        if let Err(error) = cron::zone(&zone_name) {
            let message = format!(
                "invalid timeZone: {zone_name}: {error}",
                zone_name = GoQuoted(&zone_name)
            );
            self.recorder.warning(cron, "UnknownTimeZone", message);
            return Ok(None);
        }
        if cron.spec.suspend == Some(true) {
            return Ok(None);
        }
        let text = cron.spec.schedule.clone();
        if text.contains("TZ") {
            let hint = "see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details";
            let message = format!(
                "CRON_TZ or TZ used in schedule {text} is not officially supported, {hint}",
                text = GoQuoted(&text)
            );
            self.recorder.warning(cron, "UnsupportedSchedule", message);
        }
        let schedule = match Schedule::parse(&text, &zone_name) {
            Ok(schedule) => schedule,
            Err(error) => {
                let message = format!(
                    "unparseable schedule: {text} : {error}",
                    text = GoQuoted(&text)
                );
                self.recorder.warning(cron, "UnparseableSchedule", message);
                return Ok(None);
            }
        };
        let now = self.clock.now();
        let (time, missed) = match due(cron, &schedule, now, true) {
            Ok(found) => found,
            Err(why) => {
                let message = format!("invalid schedule: {text} : {why}");
                self.recorder.warning(cron, "InvalidSchedule", message);
                return Ok(None);
            }
        };
        if missed == Missed::Many && time.is_some() {
            let advice = "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
            self.recorder.warning(cron, "TooManyMissedTimes", advice);
        }
        let Some(time) = time else {
            return Ok(next_wait(cron, &schedule, now));
        };
        let refusal = decide::refusal(cron, time, now);
        if let Some(told) = refusal {
            told.into_iter().for_each(|told| self.tell(cron, told));
        } else {
            if cron.spec.concurrency_policy.as_deref() == Some("Replace") {
                self.replace_active(cron).await?;
            }
            if !self.start(key, cron, time, &zone_name).await? {
                return Ok(None);
            }
        }
        Ok(next_wait(cron, &schedule, now))
    }

    fn tell(&self, cron: &CronJob, (kind, reason, message): Told) {
        self.recorder.event(cron, kind, reason, message);
    }

    /// Brings the list of active Jobs up to date.
    async fn follow(&self, cron: &mut CronJob, jobs: &[Arc<Job>]) -> Result<(), Error> {
        for told in decide::follow(cron, jobs) {
            self.tell(cron, told);
        }
        for reference in active(cron).to_vec() {
            if jobs.iter().any(|job| job.metadata.uid == reference.uid) {
                continue;
            }
            let (namespace, job) = (
                reference.namespace.as_deref().unwrap_or(""),
                reference.name.as_deref().unwrap_or(""),
            );
            if unless_gone(self.api.get::<Job>(namespace, job).await)?.is_none() {
                let message = format!("Active job went missing: {job}");
                self.recorder.normal(cron, "MissingJob", message);
                drop_active(cron, reference.uid.as_ref());
            }
        }
        Ok(())
    }

    async fn replace_active(&self, cron: &mut CronJob) -> Result<(), Error> {
        for reference in active(cron).to_vec() {
            let (namespace, job) = (
                reference.namespace.as_deref().unwrap_or(""),
                reference.name.as_deref().unwrap_or(""),
            );
            match self.api.get::<Job>(namespace, job).await {
                Ok(job) => {
                    if !self.delete(cron, &job).await {
                        return Err(failed!(
                            "could not replace job {namespace}/{}",
                            job.metadata.name()
                        ));
                    }
                }
                Err(error) => {
                    self.recorder
                        .warning(cron, "FailedGet", format!("Get job: {error}"));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn delete(&self, cron: &mut CronJob, job: &Job) -> bool {
        let background = Delete {
            propagation: Some("Background"),
            ..Delete::default()
        };
        match self
            .api
            .delete::<Job>(&Key::of(&job.metadata), &background)
            .await
        {
            Ok(()) => {
                drop_active(cron, job.metadata.uid.as_ref());
                let message = format!("Deleted job {}", job.metadata.name());
                self.recorder.normal(cron, "SuccessfulDelete", message);
                true
            }
            Err(error) => {
                self.recorder
                    .warning(cron, "FailedDelete", format!("Deleted job: {error}"));
                false
            }
        }
    }

    /// Makes the Job of `time`; false when someone else's Job has its name.
    async fn start(
        &self,
        key: &Key,
        cron: &mut CronJob,
        time: Timestamp,
        zone_name: &str,
    ) -> Result<bool, Error> {
        let template = &cron.spec.job_template;
        let meta = template.metadata.clone().unwrap_or_default();
        let mut annotations = meta.annotations.unwrap_or_default();
        let zone = cron::zone(zone_name).map_err(|e| Error::Failed(e.to_string()))?;
        annotations.insert(SCHEDULED_AT.into(), scheduled_at(time, zone));
        let job = Job {
            metadata: ObjectMeta {
                name: Some(job_name(cron, time)),
                namespace: cron.metadata.namespace.clone(),
                labels: meta.labels,
                annotations: Some(annotations),
                owner_references: Some(vec![controller_ref(cron)]),
                ..Default::default()
            },
            spec: template.spec.clone(),
            status: None,
        };
        let made = match self.api.create(&job).await {
            Ok(made) => {
                let message = format!("Created job {}", made.metadata.name());
                self.recorder.normal(cron, "SuccessfulCreate", message);
                made
            }
            Err(error) if error.is_already_exists() => {
                let existing = self
                    .api
                    .get::<Job>(key.namespace(), job.metadata.name())
                    .await?;
                if !is_controlled_by(&existing.metadata, &cron.metadata)
                    || is_active(cron, existing.metadata.uid.as_ref())
                    || is_finished(&existing)
                {
                    return Ok(false);
                }
                existing
            }
            Err(error) => {
                if !error.is_namespace_terminating() {
                    let message = format!("Error creating job: {error}");
                    self.recorder.warning(cron, "FailedCreate", message);
                }
                return Err(error);
            }
        };
        self.jobs.note(key, &made.metadata);
        let reference = ObjectReference {
            api_version: Some("batch/v1".into()),
            kind: Some("Job".into()),
            namespace: made.metadata.namespace,
            name: made.metadata.name,
            uid: made.metadata.uid,
            resource_version: made.metadata.resource_version,
            field_path: None,
        };
        let status = cron.status.get_or_insert_default();
        status.active.get_or_insert_default().push(reference);
        status.last_schedule_time = Some(Time(time));
        Ok(true)
    }

    /// Deletes the oldest finished Jobs that the history need not keep.
    async fn clear_away(&self, cron: &mut CronJob, jobs: &[Arc<Job>]) {
        for job in decide::surplus(cron, jobs) {
            self.delete(cron, &job).await;
        }
    }
}
