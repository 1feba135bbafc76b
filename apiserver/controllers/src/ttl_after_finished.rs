//! The TTL-after-finished controller: deletes Jobs that ended long enough ago.
//!
//! Invariant: the Job is read from the server once more before it goes. Follows
//! pkg/controller/ttlafterfinished/ttlafterfinished_controller.go.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;

use crate::{
    clock::{after, until},
    job::finished_condition,
    prelude::*,
};

struct Controller {
    api: Api,
    clock: Clock,
    jobs: Informer<Job>,
}

/// `ttl-after-finished-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "ttl_jobs_to_delete",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            jobs: context.informer(),
        },
    );
    let ends = |change: &Change<Job>| {
        !matches!(change, Change::Deleted(_)) && expiry(change.object()).is_some()
    };
    c.each_if(&c.jobs, ends);
    Ok(c.workers())
}

/// When the Job is to go, if it has ended and has a time to live.
fn expiry(job: &Job) -> Option<Timestamp> {
    let ttl = job
        .spec()
        .ttl_seconds_after_finished
        .and_then(|s| u64::try_from(s).ok())?;
    let ended = finished_condition(job)?.last_transition_time.as_ref()?.0;
    job.metadata
        .deletion_timestamp
        .is_none()
        .then(|| after(ended, Duration::from_secs(ttl)))
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "ttl-after-finished-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let now = self.clock.now();
        match self.jobs.get(key).and_then(|job| expiry(&job)) {
            None => return Ok(Next::DONE),
            Some(at) if at > now => return Ok(Next::after(until(now, at))),
            Some(_) => {}
        }
        let Some(job) = unless_gone(self.api.get::<Job>(key.namespace(), key.name()).await)? else {
            return Ok(Next::DONE);
        };
        match expiry(&job) {
            None => Ok(Next::DONE),
            Some(at) if at > now => Ok(Next::after(until(now, at))),
            Some(_) => {
                let options = Delete {
                    propagation: Some("Foreground"),
                    uid: job.metadata.uid,
                    ..Delete::default()
                };
                unless_gone(self.api.delete::<Job>(key, &options).await)?;
                Ok(Next::DONE)
            }
        }
    }
}
