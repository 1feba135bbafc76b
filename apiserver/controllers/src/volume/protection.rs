//! Protection of volumes and claims in use: their finalizers go only when nobody uses them.
//!
//! Invariant: before a claim's finalizer goes, its namespace's pods are read from the server. Follows
//! pkg/controller/volume/pvcprotection and pvprotection.

use k8s_openapi::{
    api::core::v1::{PersistentVolume, PersistentVolumeClaim},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_podspec::pod::Pod;

use super::mentions;
use crate::{pods, prelude::*};

const OF_CLAIM: &str = "kubernetes.io/pvc-protection";
const OF_VOLUME: &str = "kubernetes.io/pv-protection";

struct Claims {
    api: Api,
    claims: Informer<PersistentVolumeClaim>,
    pods: Informer<Pod>,
}

struct Volumes {
    api: Api,
    volumes: Informer<PersistentVolume>,
}

/// `persistentvolumeclaim-protection-controller`.
pub fn start_claims(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "pvcprotection",
        Claims {
            api: context.api.clone(),
            claims: context.informer(),
            pods: context.informer(),
        },
    );
    c.each_if(&c.claims, |change| concerns(change, OF_CLAIM));
    c.on(&c.pods, |c, change, queue| {
        let pod = change.object();
        let ends = matches!(change, Change::Deleted(_))
            || pods::is_finished(pod)
            || pods::is_deleting(pod);
        if ends && pod.spec().volumes.is_some() {
            let freed = |claim: &Arc<PersistentVolumeClaim>| {
                claim.metadata.is_deleting() && mentions(pod, claim)
            };
            wake(
                queue,
                c.claims
                    .in_namespace(pod.metadata.namespace())
                    .into_iter()
                    .filter(freed),
            );
        }
    });
    Ok(c.some_workers(1))
}

/// `persistentvolume-protection-controller`.
pub fn start_volumes(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "pvprotection",
        Volumes {
            api: context.api.clone(),
            volumes: context.informer(),
        },
    );
    c.each_if(&c.volumes, |change| concerns(change, OF_VOLUME));
    Ok(c.some_workers(1))
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Todo {
    Nothing,
    Add,
    RemoveIfUnused,
}

pub(super) fn todo(meta: &ObjectMeta, finalizer: &str) -> Todo {
    match (meta.is_deleting(), meta.has_finalizer(finalizer)) {
        (true, true) => Todo::RemoveIfUnused,
        (false, false) => Todo::Add,
        _ => Todo::Nothing,
    }
}

/// Whether a change leaves something to do.
pub(super) fn concerns<K: Kind>(change: &Change<K>, finalizer: &str) -> bool {
    !matches!(change, Change::Deleted(_))
        && todo(change.object().meta(), finalizer) != Todo::Nothing
}

/// Writes the whole object, as the controllers' roles have it.
pub(super) async fn set_finalizers<K: Kind>(
    api: &Api,
    object: &K,
    change: impl FnOnce(&mut Vec<String>),
) -> Result<(), Error> {
    let mut object = object.clone();
    change(object.meta_mut().finalizers.get_or_insert_default());
    unless_gone(api.update(&object).await).map(drop)
}

/// A bound pod uses its claims until it is gone, an ephemeral volume's only until it has shut down.
fn uses(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let shut_down = pods::is_deleting(pod) && pod.metadata.deletion_grace_period_seconds == Some(0);
    let direct = pod.spec().volumes.iter().flatten().any(|v| {
        v.persistent_volume_claim
            .as_ref()
            .is_some_and(|c| Some(&c.claim_name) == claim.metadata.name.as_ref())
    });
    !pods::node_name(pod).is_empty() && mentions(pod, claim) && (direct || !shut_down)
}

impl Reconcile<Key> for Claims {
    const NAME: &'static str = "persistentvolumeclaim-protection-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(claim) = self.claims.get(key) else {
            return Ok(Next::DONE);
        };
        match todo(&claim.metadata, OF_CLAIM) {
            Todo::Nothing => {}
            Todo::Add => set_finalizers(&self.api, &*claim, |f| f.push(OF_CLAIM.into())).await?,
            Todo::RemoveIfUnused => {
                let known = self
                    .pods
                    .in_namespace(key.namespace())
                    .iter()
                    .any(|pod| uses(pod, &claim));
                if known
                    || self
                        .api
                        .list::<Pod>(key.namespace())
                        .await?
                        .iter()
                        .any(|pod| uses(pod, &claim))
                {
                    return Ok(Next::DONE);
                }
                set_finalizers(&self.api, &*claim, |f| f.retain(|f| f != OF_CLAIM)).await?;
            }
        }
        Ok(Next::DONE)
    }
}

impl Reconcile<Key> for Volumes {
    const NAME: &'static str = "persistentvolume-protection-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(volume) = self.volumes.get(key) else {
            return Ok(Next::DONE);
        };
        let bound = volume.status().phase.as_deref() == Some("Bound");
        match todo(&volume.metadata, OF_VOLUME) {
            Todo::Add => set_finalizers(&self.api, &*volume, |f| f.push(OF_VOLUME.into())).await?,
            Todo::RemoveIfUnused if !bound => {
                set_finalizers(&self.api, &*volume, |f| f.retain(|f| f != OF_VOLUME)).await?
            }
            _ => {}
        }
        Ok(Next::DONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{PersistentVolumeClaimVolumeSource, Volume};

    #[test]
    fn only_bound_pods_use_a_claim() {
        let mut claim = PersistentVolumeClaim::default();
        claim.metadata.name = Some("c".into());
        let source = PersistentVolumeClaimVolumeSource {
            claim_name: "c".into(),
            read_only: None,
        };
        let pod = |node: &str| {
            let mut pod = crate::pods::tests::pod("p", node, "Running", None);
            pod.spec.as_mut().unwrap().volumes = Some(vec![Volume {
                persistent_volume_claim: Some(source.clone()),
                ..Default::default()
            }]);
            pod
        };
        assert!(uses(&pod("n"), &claim) && !uses(&pod(""), &claim));
        claim.metadata.name = Some("other".into());
        assert!(!uses(&pod("n"), &claim));
    }
}
