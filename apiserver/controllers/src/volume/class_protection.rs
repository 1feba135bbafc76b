//! Protection of volume attributes classes in use: their finalizer goes only when no volume and no claim names them.
//!
//! Invariant: what a claim has, wants or is being changed to counts as used. Follows pkg/controller/volume/vacprotection.

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::VolumeAttributesClass,
};

use super::protection::{Todo, concerns, set_finalizers, todo};
use crate::prelude::*;

const FINALIZER: &str = "kubernetes.io/vac-protection";

struct Classes {
    api: Api,
    classes: Informer<VolumeAttributesClass>,
    claims: Informer<PersistentVolumeClaim>,
    volumes: Informer<PersistentVolume>,
}

/// `volumeattributesclass-protection-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "vacprotection",
        Classes {
            api: context.api.clone(),
            classes: context.informer(),
            claims: context.informer(),
            volumes: context.informer(),
        },
    );
    c.each_if(&c.classes, |change| concerns(change, FINALIZER));
    c.on(&c.claims, |c, change, queue| {
        before(change)
            .map(named_by_claim)
            .into_iter()
            .flatten()
            .for_each(|name| c.wake(name, queue));
    });
    c.on(&c.volumes, |c, change, queue| {
        before(change)
            .and_then(named_by_volume)
            .into_iter()
            .for_each(|name| c.wake(name, queue));
    });
    Ok(c.some_workers(1))
}

impl Classes {
    /// Of a class that is to go, one user less is there.
    fn wake(&self, name: &str, queue: &Queue<Key>) {
        let key = Key::cluster(name);
        if self
            .classes
            .get(&key)
            .is_some_and(|class| class.metadata.is_deleting())
        {
            queue.add(key);
        }
    }
}

/// What an object was before a change that may have let go of a class.
fn before<T>(change: &Change<T>) -> Option<&T> {
    match change {
        Change::Added(_) => None,
        Change::Updated { old, .. } => Some(old),
        Change::Deleted(gone) => Some(gone),
    }
}

fn named_by_claim(claim: &PersistentVolumeClaim) -> Vec<&str> {
    let wanted = claim.spec().volume_attributes_class_name.as_deref();
    let status = claim.status.as_ref();
    let has = status.and_then(|status| status.current_volume_attributes_class_name.as_deref());
    let coming = status.and_then(|status| {
        status
            .modify_volume_status
            .as_ref()?
            .target_volume_attributes_class_name
            .as_deref()
    });
    [wanted, has, coming]
        .into_iter()
        .flatten()
        .filter(|name| !name.is_empty())
        .collect()
}

fn named_by_volume(volume: &PersistentVolume) -> Option<&str> {
    volume
        .spec()
        .volume_attributes_class_name
        .as_deref()
        .filter(|name| !name.is_empty())
}

impl Reconcile<Key> for Classes {
    const NAME: &'static str = "volumeattributesclass-protection-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(class) = self.classes.get(key) else {
            return Ok(Next::DONE);
        };
        match todo(&class.metadata, FINALIZER) {
            Todo::Nothing => {}
            Todo::Add => set_finalizers(&self.api, &*class, |f| f.push(FINALIZER.into())).await?,
            Todo::RemoveIfUnused => {
                let used = self
                    .volumes
                    .list()
                    .iter()
                    .any(|volume| named_by_volume(volume) == Some(key.name()))
                    || self
                        .claims
                        .list()
                        .iter()
                        .any(|claim| named_by_claim(claim).contains(&key.name()));
                if !used {
                    set_finalizers(&self.api, &*class, |f| f.retain(|f| f != FINALIZER)).await?;
                }
            }
        }
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_claim_has_or_wants_is_named() {
        let claim = serde_json::json!({"spec": {"volumeAttributesClassName": "a"},
            "status": {"currentVolumeAttributesClassName": "b", "modifyVolumeStatus": {"status": "InProgress", "targetVolumeAttributesClassName": "c"}}});
        let claim: PersistentVolumeClaim = serde_json::from_value(claim).unwrap();
        assert_eq!(named_by_claim(&claim), ["a", "b", "c"]);
        assert!(named_by_claim(&PersistentVolumeClaim::default()).is_empty());
    }
}
