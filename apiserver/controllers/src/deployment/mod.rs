//! The Deployment controller: one ReplicaSet a revision of the template, and the replicas moved from the old ones to the new.
//!
//! Invariant: every pass starts from what the cache shows after this controller's own last write. Follows
//! pkg/controller/deployment/deployment_controller.go.

mod conditions;
mod replicasets;
mod revision;
mod rollback;
mod rollout;
mod scaling;
mod status;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use skiff_podspec::pod::Pod;

use self::replicasets::Sets;
use crate::{
    dependents::{self, Selecting, claimed, owner_of},
    pods,
    prelude::*,
};

/// The controller.
struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    deployments: Fresh<Deployment>,
    sets: Fresh<ReplicaSet>,
    pods: Informer<Pod>,
}

/// `deployment-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "deployment",
        Controller {
            api: context.api.clone(),
            clock: context.clock.clone(),
            recorder: context.recorder("deployment-controller"),
            deployments: context.fresh(),
            sets: context.fresh(),
            pods: context.informer(),
        },
    );
    c.each(&c.deployments);
    c.on(&c.sets, |c, change, queue| {
        drop(dependents::heard(&c.deployments, change, &|key| {
            queue.add(key)
        }))
    });
    c.on(&c.pods, |c, change, queue| {
        if let Change::Deleted(pod) = change {
            c.pod_deleted(pod, queue);
        }
    });
    Ok(c.workers())
}

impl Controller {
    /// A Recreate rollout waits for the last old pod to be gone.
    fn pod_deleted(&self, pod: &Pod, queue: &Queue<Key>) {
        let deployment = owner_of(&self.sets, &pod.metadata)
            .and_then(|set| owner_of(&self.deployments, &set.metadata));
        let Some(deployment) =
            deployment.filter(|d| status::strategy(d) == status::Strategy::Recreate)
        else {
            return;
        };
        let sets = self.sets.owned_by(deployment.metadata.uid());
        if sets
            .iter()
            .all(|set| self.pods.owned_by(set.metadata.uid()).is_empty())
        {
            queue.add(Key::of(&deployment.metadata));
        }
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "deployment-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        self.deployments.catch_up(key).await;
        self.sets.catch_up(key).await;
        let Some(deployment) = self.deployments.get(key) else {
            return Ok(Next::DONE);
        };
        let mut deployment = (*deployment).clone();
        let selector = deployment.selector()?;
        if selector.is_everything() {
            return self.refuse_to_select_all(key, &mut deployment).await;
        }
        let mine = claimed(&self.api, &deployment, &selector, &self.sets).await?;
        let mut pass = Pass {
            controller: self,
            key,
            sets: Sets::of(&deployment, mine),
            deployment,
        };

        if pass.deployment.metadata.deletion_timestamp.is_some() {
            pass.take_new_set(false).await?;
            return pass
                .write_status(pass.calculate())
                .await
                .map(|()| Next::DONE);
        }
        pass.check_paused().await?;
        if pass.paused() {
            return pass.scale_only().await.map(|()| Next::DONE);
        }
        if let Some(revision) = rollback::wanted(&pass.deployment) {
            return pass.roll_back(revision).await.map(|()| Next::DONE);
        }
        if pass.is_scaling().await? {
            return pass.scale_only().await.map(|()| Next::DONE);
        }
        match status::strategy(&pass.deployment) {
            status::Strategy::Recreate => pass.recreate().await,
            status::Strategy::RollingUpdate => pass.roll().await,
        }
    }
}

impl Controller {
    async fn refuse_to_select_all(
        &self,
        key: &Key,
        deployment: &mut Deployment,
    ) -> Result<Next, Error> {
        let message = "This deployment is selecting all pods. A non-empty selector is required.";
        self.recorder.warning(deployment, "SelectingAll", message);
        let generation = deployment.metadata.generation;
        let status = deployment.status.get_or_insert_default();
        if status.observed_generation < generation {
            status.observed_generation = generation;
            let written = self.api.update_status(deployment).await?;
            self.deployments.note(key, &written.metadata);
        }
        Ok(Next::DONE)
    }
}

/// One reconciliation of one Deployment: the objects as they were read, kept up to date with what is written meanwhile.
struct Pass<'a> {
    controller: &'a Controller,
    key: &'a Key,
    deployment: Deployment,
    sets: Sets,
}

impl Pass<'_> {
    fn paused(&self) -> bool {
        self.deployment.spec().paused.unwrap_or(false)
    }

    /// Writes the Deployment's status (and, as upstream does it, its annotations), and goes on from what the server made of it.
    async fn put_status(&mut self) -> Result<(), Error> {
        let written = self.controller.api.update_status(&self.deployment).await?;
        self.controller
            .deployments
            .note(self.key, &written.metadata);
        self.deployment = written;
        Ok(())
    }

    fn say(&self, message: String) {
        self.controller
            .recorder
            .normal(&self.deployment, "ScalingReplicaSet", message);
    }

    /// Whether pods of other sets than the new one still run.
    fn old_pods_running(&self) -> bool {
        if self.sets.old.iter().any(|set| replicasets::actual(set) > 0) {
            return true;
        }
        let new = self
            .sets
            .new
            .as_ref()
            .and_then(|set| set.metadata.uid.as_deref());
        let uids = self
            .sets
            .old
            .iter()
            .filter_map(|set| set.metadata.uid.as_deref())
            .filter(|uid| Some(*uid) != new);
        uids.into_iter().any(|uid| {
            self.controller
                .pods
                .owned_by(uid)
                .iter()
                .any(|pod| !pods::is_finished(pod))
        })
    }
}
