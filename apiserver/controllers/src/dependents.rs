//! What an owner's controller does about its dependents: it hears of them, claims them, makes them and ends them.
//!
//! Invariant: an owner is known by its uid; what was asked for and has not shown up is expected until it has, or failed. Follows
//! pkg/controller/controller_utils.go, controller_ref_manager.go and the event handlers of pkg/controller/{replicaset,daemon,deployment,job,statefulset}.

use futures::future::join_all;
use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::Job,
        core::v1::ReplicationController,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_podspec::pod::Pod;

use crate::{
    owners::{claim_all, controller_of},
    pods,
    prelude::*,
    runner::slow_start,
};

/// A kind whose objects select their dependents by labels.
pub trait Selecting: Cached {
    /// Which dependents may be its own.
    fn selector(&self) -> Result<Selector, Error>;
}

macro_rules! selecting {
    ($($kind:ident),*) => {$(
        impl Selecting for $kind {
            fn selector(&self) -> Result<Selector, Error> {
                Ok(selector::of(self.spec.as_ref().map(|spec| &spec.selector))?)
            }
        }
    )*};
}

selecting!(DaemonSet, Deployment, ReplicaSet, StatefulSet);

impl Selecting for Job {
    fn selector(&self) -> Result<Selector, Error> {
        Ok(selector::of(self.spec().selector.as_ref())?)
    }
}

impl Selecting for ReplicationController {
    fn selector(&self) -> Result<Selector, Error> {
        Ok(selector::of_map(self.spec().selector.as_ref()))
    }
}

/// The object that controls a dependent, where it is of this kind and known.
pub fn owner_of<O: Cached>(owners: &Informer<O>, dependent: &ObjectMeta) -> Option<Arc<O>> {
    let owner = controller_of(dependent).filter(|r| r.kind == O::kind())?;
    owners
        .get(&Key::new(dependent.namespace(), &owner.name))
        .filter(|found| found.meta().uid() == owner.uid)
}

/// Wakes all that select an object that nobody controls.
fn wake_takers<O: Selecting>(owners: &Informer<O>, orphan: &ObjectMeta, wake: &impl Fn(Key)) {
    for owner in owners.in_namespace(orphan.namespace()) {
        let takes = |s: Selector| !s.is_everything() && s.matches(&orphan.labels.as_ref());
        if owner.selector().is_ok_and(takes) {
            wake(Key::of(owner.meta()));
        }
    }
}

/// A dependent changed: wakes its controller, the one that it had before, and, where nobody controls it and it is new or looks different, all that
/// select it. Gives the key of its controller.
pub fn heard<O: Selecting, D: Kind>(
    owners: &Informer<O>,
    change: &Change<D>,
    wake: &impl Fn(Key),
) -> Option<Key> {
    let meta = change.object().meta();
    let old = match change {
        Change::Updated { old, .. } => Some(old.meta()),
        _ => None,
    };
    let moved = old.filter(|old| controller_of(old) != controller_of(meta));
    if let Some(owner) = moved.and_then(|old| owner_of(owners, old)) {
        wake(Key::of(owner.meta()));
    }
    if controller_of(meta).is_some() {
        let key = owner_of(owners, meta).map(|owner| Key::of(owner.meta()));
        key.iter().for_each(|key| wake(key.clone()));
        return key;
    }
    let looks_alike = moved.is_none() && old.is_some_and(|old| old.labels == meta.labels);
    if !looks_alike && !meta.is_deleting() && !matches!(change, Change::Deleted(_)) {
        wake_takers(owners, meta, wake);
    }
    None
}

/// The same of a pod whose coming or going may have been expected.
pub fn heard_of_pod<O: Selecting>(
    owners: &Informer<O>,
    expectations: &Expectations,
    change: &Change<Pod>,
    wake: &impl Fn(Key),
) -> Option<Key> {
    let pod = change.object();
    let owner = owner_of(owners, &pod.metadata).map(|owner| Key::of(owner.meta()));
    if let Some(owner) = owner {
        if pods::is_deleting(pod) || matches!(change, Change::Deleted(_)) {
            expectations.deletion_observed(&owner, &Key::of(&pod.metadata));
        } else if matches!(change, Change::Added(_)) {
            expectations.creation_observed(&owner);
        }
    }
    heard(owners, change, wake)
}

/// All that may be an owner's: what it controls, and what nobody does.
pub fn candidates<O: Kind, D: Cached>(owner: &O, dependents: &Informer<D>) -> Vec<Arc<D>> {
    let mut candidates = dependents.owned_by(owner.meta().uid());
    candidates.extend(dependents.orphans(owner.meta().namespace()));
    candidates
}

/// All that is an owner's by now: adopted or released as `selector` says.
pub async fn claimed<O: Kind, D: Cached>(
    api: &Api,
    owner: &O,
    selector: &Selector,
    dependents: &Informer<D>,
) -> Result<Vec<Arc<D>>, Error> {
    let fits = |dependent: &D| selector.matches(&dependent.meta().labels.as_ref());
    claim_all(api, owner, candidates(owner, dependents), fits).await
}

/// An owner whose pods are made and ended.
pub struct Pods<'a, O> {
    pub api: &'a Api,
    pub recorder: &'a Recorder,
    pub expectations: &'a Expectations,
    pub key: &'a Key,
    pub owner: &'a O,
}

impl<O: Kind> Pods<'_, O> {
    /// Makes pods, of which each is expected already. Gives how many were made, and the first failure: then the rest is expected no more.
    pub async fn create(&self, count: usize, pod: impl Fn(usize) -> Pod) -> (usize, Option<Error>) {
        let (created, failure) = slow_start(count, |i| {
            let pod = pod(i);
            async move {
                match pods::create(self.api, self.recorder, self.owner, &pod).await {
                    // nothing can be made in a namespace that ends: no use to try again
                    Err(e) if e.is_namespace_terminating() => {
                        self.expectations.creation_observed(self.key);
                        Ok(())
                    }
                    other => other.map(drop),
                }
            }
        })
        .await;
        if failure.is_some() {
            self.expectations
                .creations_observed(self.key, count - created);
        }
        (created, failure)
    }

    /// Deletes pods, of which each is expected already; gives what failed, but for those that are gone.
    pub async fn delete(&self, doomed: &[Arc<Pod>]) -> Vec<Error> {
        let results = join_all(doomed.iter().map(|pod| async {
            let pod = Key::of(&pod.metadata);
            let result = pods::delete(self.api, self.recorder, self.owner, &pod).await;
            if result.is_err() {
                self.expectations.deletion_observed(self.key, &pod);
            }
            result
        }));
        let failed = results.await.into_iter().filter_map(Result::err);
        failed.filter(|error| !error.is_not_found()).collect()
    }
}
