//! The Deployment controller: one ReplicaSet a revision of the template, and the replicas moved from the old ones to the new.
//!
//! Invariant: every pass starts from what the cache shows after this controller's own last write. Follows
//! pkg/controller/deployment/deployment_controller.go.

mod conditions;
mod replicasets;
mod revision;
mod rollout;
mod scaling;
mod status;

use std::sync::Arc;

use k8s_openapi::api::{
    apps::v1::{Deployment, ReplicaSet},
    core::v1::Pod,
};

use self::replicasets::Sets;
use crate::{
    api::{Api, Kind},
    clock::Clock,
    error::Error,
    events::Recorder,
    expectations::Wrote,
    informer::{Change, Informer},
    key::Key,
    labels::Selector,
    list::Work,
    owners::{claim_all, controller_of},
    pods,
    queue::Queue,
    runner::{Context, Next, Reconcile},
};

/// The controller.
struct Controller {
    api: Api,
    clock: Clock,
    recorder: Recorder,
    deployments: Informer<Deployment>,
    sets: Informer<ReplicaSet>,
    pods: Informer<Pod>,
    wrote: Wrote,
    wrote_sets: Wrote,
}

/// `deployment-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let queue = context.queue::<Key>();
    let controller = Arc::new(Controller {
        api: context.api.clone(),
        clock: context.clock.clone(),
        recorder: context.recorder("deployment-controller"),
        deployments: context.informer(),
        sets: context.informer(),
        pods: context.informer(),
        wrote: Wrote::default(),
        wrote_sets: Wrote::default(),
    });
    let q = queue.clone();
    controller
        .deployments
        .subscribe(move |change| q.add(Key::of(change.object().meta())));
    let (watcher, q) = (controller.clone(), queue.clone());
    controller
        .sets
        .subscribe(move |change| watcher.set_changed(change, &q));
    let (watcher, q) = (controller.clone(), queue.clone());
    controller.pods.subscribe(move |change| {
        if let Change::Deleted(pod) = change {
            watcher.pod_deleted(pod, &q);
        }
    });
    Ok(Some(context.workers(controller, queue)))
}

impl Controller {
    /// The Deployment that controls this set.
    fn owner(&self, set: &ReplicaSet) -> Option<Arc<Deployment>> {
        let owner = controller_of(&set.metadata).filter(|r| r.kind == "Deployment")?;
        let deployment = self.deployments.get(&Key::new(
            set.metadata.namespace.as_deref().unwrap_or(""),
            &owner.name,
        ))?;
        (deployment.metadata.uid.as_ref() == Some(&owner.uid)).then_some(deployment)
    }

    fn set_changed(&self, change: &Change<ReplicaSet>, queue: &Queue<Key>) {
        let set = change.object();
        if let Change::Updated { old, new } = change
            && controller_of(&old.metadata) != controller_of(&new.metadata)
            && let Some(owner) = self.owner(old)
        {
            queue.add(Key::of(&owner.metadata));
        }
        if controller_of(&set.metadata).is_some() {
            if let Some(owner) = self.owner(set) {
                queue.add(Key::of(&owner.metadata));
            }
            return;
        }
        if matches!(change, Change::Deleted(_)) {
            return;
        }
        for deployment in self
            .deployments
            .in_namespace(set.metadata.namespace.as_deref().unwrap_or(""))
        {
            if selector_of(&deployment)
                .is_ok_and(|s| !s.is_everything() && s.matches(set.metadata.labels.as_ref()))
            {
                queue.add(Key::of(&deployment.metadata));
            }
        }
    }

    /// A Recreate rollout waits for the last old pod to be gone.
    fn pod_deleted(&self, pod: &Pod, queue: &Queue<Key>) {
        let Some(owner) = controller_of(&pod.metadata).filter(|r| r.kind == "ReplicaSet") else {
            return;
        };
        let namespace = pod.metadata.namespace.as_deref().unwrap_or("");
        let Some(deployment) = self
            .sets
            .get(&Key::new(namespace, &owner.name))
            .and_then(|set| self.owner(&set))
        else {
            return;
        };
        if status::strategy(&deployment) != status::Strategy::Recreate {
            return;
        }
        let sets = self
            .sets
            .owned_by(deployment.metadata.uid.as_deref().unwrap_or(""));
        if sets.iter().all(|set| {
            self.pods
                .owned_by(set.metadata.uid.as_deref().unwrap_or(""))
                .is_empty()
        }) {
            queue.add(Key::of(&deployment.metadata));
        }
    }
}

fn selector_of(deployment: &Deployment) -> Result<Selector, Error> {
    Selector::of(deployment.spec.as_ref().map(|s| &s.selector))
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "deployment-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        if let Some(version) = self.wrote.take(key) {
            self.deployments.reach(version, &self.clock).await;
        }
        if let Some(version) = self.wrote_sets.take(key) {
            self.sets.reach(version, &self.clock).await;
        }
        let Some(deployment) = self.deployments.get(key) else {
            return Ok(Next::DONE);
        };
        let mut deployment = (*deployment).clone();
        let selector = selector_of(&deployment)?;
        if selector.is_everything() {
            return self.refuse_to_select_all(key, &mut deployment).await;
        }
        let mut candidates = self
            .sets
            .owned_by(deployment.metadata.uid.as_deref().unwrap_or(""));
        candidates.extend(self.sets.orphans(key.namespace()));
        let mine = claim_all(&self.api, &deployment, candidates, |set: &ReplicaSet| {
            selector.matches(set.metadata.labels.as_ref())
        })
        .await?;
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
        if pass.paused() || pass.is_scaling().await? {
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
            self.wrote
                .note(key, written.metadata.resource_version.as_deref());
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
        self.deployment
            .spec
            .as_ref()
            .and_then(|s| s.paused)
            .unwrap_or(false)
    }

    /// Writes the Deployment's status (and, as upstream does it, its annotations), and goes on from what the server made of it.
    async fn put_status(&mut self) -> Result<(), Error> {
        let written = self.controller.api.update_status(&self.deployment).await?;
        self.controller
            .wrote
            .note(self.key, written.metadata.resource_version.as_deref());
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
