//! The persistent volume binder: brings claims and volumes together, and follows what becomes of them.
//!
//! Invariant: the volume is marked first, then the claim: whatever breaks off in between, no volume has two claims. There are no
//! provisioners, deleters or recyclers built in: those of others are waited for. Follows
//! pkg/controller/volume/persistentvolume/pv_controller.go.

use k8s_openapi::api::{
    core::v1::{
        ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus, Pod,
    },
    storage::v1::StorageClass,
};

use super::{decide, mentions};
use crate::{pods, prelude::*};

const COMPLETED: &str = "pv.kubernetes.io/bind-completed";
const BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
const PROVISIONER: [&str; 2] = [
    "volume.beta.kubernetes.io/storage-provisioner",
    "volume.kubernetes.io/storage-provisioner",
];
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const NO_PROVISIONER: &str = "kubernetes.io/no-provisioner";

struct Binder {
    api: Api,
    recorder: Recorder,
    volumes: Fresh<PersistentVolume>,
    claims: Fresh<PersistentVolumeClaim>,
    classes: Informer<StorageClass>,
    pods: Informer<Pod>,
}

/// `persistentvolume-binder-controller`. One worker for both kinds: a volume's key is without a namespace.
pub fn start(context: &Context) -> Result<Work, Error> {
    let binder = Binder {
        api: context.api.clone(),
        recorder: context.recorder("persistentvolume-controller"),
        volumes: context.fresh(),
        claims: context.fresh(),
        classes: context.informer(),
        pods: context.informer(),
    };
    let wiring = context
        .wire(binder)
        .each(|c| &c.volumes)
        .on(
            |c| &c.volumes,
            |c, change, queue| {
                if let Some(reference) = &change.object().spec().claim_ref {
                    queue.add(decide::key_of(reference));
                } else if !matches!(change, Change::Deleted(_)) {
                    let searching =
                        |claim: &Arc<PersistentVolumeClaim>| claim.spec().volume_name.is_none();
                    wake(queue, c.claims.list().into_iter().filter(searching));
                }
            },
        )
        .each(|c| &c.claims)
        .on(
            |c| &c.claims,
            |_, change, queue| {
                if let Some(volume) = &change.object().spec().volume_name {
                    queue.add(Key::cluster(volume));
                }
            },
        )
        .on(
            |c| &c.classes,
            |c, change, queue| {
                let class = change.object().metadata.name();
                let of_class =
                    |claim: &Arc<PersistentVolumeClaim>| decide::class_of_claim(claim) == class;
                wake(queue, c.claims.list().into_iter().filter(of_class));
            },
        );
    Ok(wiring.some_workers(1))
}

impl Reconcile<Key> for Binder {
    const NAME: &'static str = "persistentvolume-binder-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let all = Key::cluster("");
        self.volumes.catch_up(&all).await;
        self.claims.catch_up(&all).await;
        if key.namespace().is_empty() {
            if let Some(volume) = self.volumes.get(key) {
                self.sync_volume((*volume).clone()).await?;
            }
        } else if let Some(claim) = self.claims.get(key) {
            self.sync_claim((*claim).clone()).await?;
        }
        Ok(Next::DONE)
    }
}

impl Binder {
    async fn put_volume(&self, volume: &PersistentVolume) -> Result<PersistentVolume, Error> {
        let written = self.api.update(volume).await?;
        self.volumes.note(&Key::cluster(""), &written.metadata);
        Ok(written)
    }

    async fn set_phase(
        &self,
        mut volume: PersistentVolume,
        phase: &str,
        message: &str,
    ) -> Result<PersistentVolume, Error> {
        let status = volume.status.get_or_insert_default();
        if status.phase.as_deref() == Some(phase) {
            return Ok(volume);
        }
        status.phase = Some(phase.into());
        status.message = (!message.is_empty()).then(|| message.into());
        let written = self.api.update_status(&volume).await?;
        self.volumes.note(&Key::cluster(""), &written.metadata);
        Ok(written)
    }

    async fn put_claim_status(
        &self,
        mut claim: PersistentVolumeClaim,
        phase: &str,
        volume: Option<&PersistentVolume>,
    ) -> Result<bool, Error> {
        let old = claim.status.clone().unwrap_or_default();
        let mut status = PersistentVolumeClaimStatus {
            phase: Some(phase.into()),
            ..old.clone()
        };
        match volume.map(HasSpec::spec) {
            None => (status.access_modes, status.capacity) = (None, None),
            Some(spec) => {
                status.access_modes = spec.access_modes.clone();
                if old.phase.as_deref() != Some(phase) || old.capacity.is_none() {
                    status.capacity = spec.capacity.clone();
                }
            }
        }
        if status == old {
            return Ok(false);
        }
        claim.status = Some(status);
        let written = self.api.update_status(&claim).await?;
        self.claims.note(&Key::cluster(""), &written.metadata);
        Ok(true)
    }

    async fn sync_volume(&self, volume: PersistentVolume) -> Result<(), Error> {
        let Some(reference) = volume.spec().claim_ref.clone() else {
            return self.set_phase(volume, "Available", "").await.map(drop);
        };
        let uid = reference.uid.clone().unwrap_or_default();
        if uid.is_empty() {
            return self.set_phase(volume, "Available", "").await.map(drop);
        }
        let (namespace, claim_name) = (
            reference.namespace.as_deref().unwrap_or(""),
            reference.name.as_deref().unwrap_or(""),
        );
        let mut claim = self
            .claims
            .get(&Key::new(namespace, claim_name))
            .map(|c| (*c).clone());
        if claim
            .as_ref()
            .is_none_or(|c| c.metadata.uid.as_ref() != Some(&uid))
        {
            claim = unless_gone(
                self.api
                    .get::<PersistentVolumeClaim>(namespace, claim_name)
                    .await,
            )?
            .filter(|c| c.metadata.uid.as_ref() == Some(&uid));
        }
        match claim {
            None => self.release(volume).await,
            Some(claim) => match claim.spec().volume_name.as_deref().unwrap_or("") {
                "" => Ok(()),
                bound if bound == volume.metadata.name() => {
                    self.set_phase(volume, "Bound", "").await.map(drop)
                }
                _ if volume.metadata.annotation(PROVISIONED_BY).is_some() => {
                    self.release(volume).await
                }
                _ if volume.metadata.annotation(BY_CONTROLLER).is_some() => {
                    self.unbind(volume).await
                }
                _ => self.unbind(volume).await,
            },
        }
    }

    /// The claim has another volume: this one is free again, still kept for whom it names.
    async fn unbind(&self, mut volume: PersistentVolume) -> Result<(), Error> {
        let by_controller = volume
            .metadata
            .annotations
            .as_mut()
            .is_some_and(|a| a.remove(BY_CONTROLLER).is_some());
        let spec = volume.spec.get_or_insert_default();
        if by_controller {
            spec.claim_ref = None;
        } else if let Some(reference) = &mut spec.claim_ref {
            (reference.uid, reference.resource_version) = (None, None);
        }
        let volume = self.put_volume(&volume).await?;
        self.set_phase(volume, "Available", "").await.map(drop)
    }

    /// The claim is gone: the volume is released, and what its policy says comes to pass.
    async fn release(&self, volume: PersistentVolume) -> Result<(), Error> {
        if volume.status().phase.as_deref() == Some("Failed") {
            return Ok(());
        }
        let volume = self.set_phase(volume, "Released", "").await?;
        let policy = volume
            .spec()
            .persistent_volume_reclaim_policy
            .as_deref()
            .unwrap_or("Retain");
        let others =
            volume.metadata.annotation(PROVISIONED_BY).is_some() || volume.spec().csi.is_some();
        let (reason, message) = match policy {
            "Recycle" => (
                "VolumeFailedRecycle",
                "No recycler plugin found for the volume!".to_string(),
            ),
            "Delete" if !others => {
                let message = format!(
                    "error getting deleter volume plugin for volume {:?}: no volume plugin matched",
                    volume.metadata.name()
                );
                ("VolumeFailedDelete", message)
            }
            _ => return Ok(()),
        };
        self.recorder.warning(&volume, reason, message.clone());
        self.set_phase(volume, "Failed", &message).await.map(drop)
    }

    async fn sync_claim(&self, claim: PersistentVolumeClaim) -> Result<(), Error> {
        if claim.metadata.annotation(COMPLETED).is_some() {
            return self.sync_bound(claim).await;
        }
        if claim.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        match claim.spec().volume_name.clone().filter(|v| !v.is_empty()) {
            Some(wanted) => self.sync_named(claim, &wanted).await,
            None => self.sync_searching(claim).await,
        }
    }

    async fn pending(&self, claim: PersistentVolumeClaim) -> Result<(), Error> {
        self.put_claim_status(claim, "Pending", None)
            .await
            .map(drop)
    }

    /// A claim that was bound: is its volume still there, and still its own?
    async fn sync_bound(&self, claim: PersistentVolumeClaim) -> Result<(), Error> {
        let wanted = claim.spec().volume_name.clone().unwrap_or_default();
        let lost = "Bound claim has lost its PersistentVolume. Data on the volume is lost!";
        let Some(volume) = self
            .volumes
            .get(&Key::cluster(&wanted))
            .filter(|_| !wanted.is_empty())
        else {
            let message = if wanted.is_empty() {
                "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!"
            } else {
                lost
            };
            return self.lose(claim, "ClaimLost", message).await;
        };
        if volume.spec().claim_ref.is_none() || decide::is_bound_to(&volume, &claim) {
            return self.bind((*volume).clone(), claim).await;
        }
        self.lose(
            claim,
            "ClaimMisbound",
            "Two claims are bound to the same volume, this one is bound incorrectly",
        )
        .await
    }

    async fn lose(
        &self,
        claim: PersistentVolumeClaim,
        reason: &str,
        message: &str,
    ) -> Result<(), Error> {
        if self.put_claim_status(claim.clone(), "Lost", None).await? {
            self.recorder.warning(&claim, reason, message);
        }
        Ok(())
    }

    /// A claim that names its volume.
    async fn sync_named(&self, claim: PersistentVolumeClaim, wanted: &str) -> Result<(), Error> {
        let Some(volume) = self.volumes.get(&Key::cluster(wanted)) else {
            return self.pending(claim).await;
        };
        match &volume.spec().claim_ref {
            None => match decide::mismatch(&volume, &claim)? {
                Some(why) => {
                    self.recorder.warning(
                        &claim,
                        "VolumeMismatch",
                        format!("Cannot bind to requested volume {wanted:?}: {why}"),
                    );
                    self.pending(claim).await
                }
                None => self.bind((*volume).clone(), claim).await,
            },
            Some(reference) if decide::names(reference, &claim) => {
                self.bind((*volume).clone(), claim).await
            }
            Some(reference) => {
                let (space, other) = (
                    reference.namespace.as_deref().unwrap_or(""),
                    reference.name.as_deref().unwrap_or(""),
                );
                if claim.metadata.annotation(BY_CONTROLLER).is_some() {
                    return Err(failed!(
                        "invalid binding of claim {:?} to volume {wanted:?}: volume already claimed by {space}/{other}",
                        claim.metadata.name()
                    ));
                }
                let message = format!("volume {wanted:?} already bound to a different claim.");
                self.recorder
                    .event(&claim, EventType::Warning, "FailedBinding", message);
                self.pending(claim).await
            }
        }
    }

    /// A claim that takes any volume that fits.
    async fn sync_searching(&self, claim: PersistentVolumeClaim) -> Result<(), Error> {
        let class_name = decide::class_of_claim(&claim).to_string();
        let class = self.classes.get(&Key::cluster(&class_name));
        let waits = class
            .as_ref()
            .is_some_and(|c| c.volume_binding_mode.as_deref() == Some("WaitForFirstConsumer"));
        let delayed = waits && !claim.metadata.annotation(SELECTED_NODE).is_some();
        if let Some(volume) = decide::best(&self.volumes.list(), &claim, delayed)? {
            return self.bind((*volume).clone(), claim).await;
        }
        if delayed {
            let (reason, message) = self.what_is_waited_for(&claim);
            self.recorder.normal(&claim, reason, message);
        } else if class_name.is_empty() {
            self.recorder.normal(
                &claim,
                "FailedBinding",
                "no persistent volumes available for this claim and no storage class is set",
            );
        } else {
            return self.provision(claim, &class_name, class).await;
        }
        self.pending(claim).await
    }

    fn what_is_waited_for(&self, claim: &PersistentVolumeClaim) -> (&'static str, String) {
        let pods = self.pods.in_namespace(claim.metadata.namespace());
        let mut names: Vec<&str> = pods
            .iter()
            .filter(|pod| !pods::is_finished(pod) && mentions(pod, claim))
            .map(|pod| pod.metadata.name())
            .collect();
        names.sort_unstable();
        match names[..] {
            [] => (
                "WaitForFirstConsumer",
                "waiting for first consumer to be created before binding".into(),
            ),
            [one] => (
                "WaitForPodScheduled",
                format!("waiting for pod {one} to be scheduled"),
            ),
            _ => (
                "WaitForPodScheduled",
                format!("waiting for pods {} to be scheduled", names.join(",")),
            ),
        }
    }

    /// Leaves the claim to the provisioner that its class names.
    async fn provision(
        &self,
        mut claim: PersistentVolumeClaim,
        class_name: &str,
        class: Option<Arc<StorageClass>>,
    ) -> Result<(), Error> {
        let Some(class) = class else {
            self.recorder.warning(
                &claim,
                "ProvisioningFailed",
                format!("storageclass.storage.k8s.io {class_name:?} not found"),
            );
            return self.pending(claim).await;
        };
        if class.provisioner == NO_PROVISIONER {
            return self.pending(claim).await;
        }
        let annotations = claim.metadata.annotations.get_or_insert_default();
        if PROVISIONER
            .iter()
            .any(|key| annotations.get(*key) != Some(&class.provisioner))
        {
            for key in PROVISIONER {
                annotations.insert(key.into(), class.provisioner.clone());
            }
            claim = self.api.update(&claim).await?;
            self.claims.note(&Key::cluster(""), &claim.metadata);
        }
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system administrator. If volume creation is \
             delayed, please verify that the provisioner is running and correctly registered.",
            class.provisioner
        );
        self.recorder
            .normal(&claim, "ExternalProvisioning", message);
        self.pending(claim).await
    }

    /// Brings the two together: first the volume, then the claim.
    async fn bind(
        &self,
        mut volume: PersistentVolume,
        mut claim: PersistentVolumeClaim,
    ) -> Result<(), Error> {
        if !decide::is_bound_to(&volume, &claim) {
            let fresh = volume.spec().claim_ref.is_none();
            volume.spec.get_or_insert_default().claim_ref = Some(ObjectReference {
                api_version: Some("v1".into()),
                kind: Some("PersistentVolumeClaim".into()),
                namespace: claim.metadata.namespace.clone(),
                name: claim.metadata.name.clone(),
                uid: claim.metadata.uid.clone(),
                resource_version: claim.metadata.resource_version.clone(),
                field_path: None,
            });
            if fresh {
                volume
                    .metadata
                    .annotations
                    .get_or_insert_default()
                    .insert(BY_CONTROLLER.into(), "yes".into());
            }
            volume = self.put_volume(&volume).await?;
        }
        let volume = self.set_phase(volume, "Bound", "").await?;
        let unnamed = claim.spec().volume_name.as_deref().unwrap_or("").is_empty();
        if unnamed || !claim.metadata.annotation(COMPLETED).is_some() {
            let annotations = claim.metadata.annotations.get_or_insert_default();
            annotations.insert(COMPLETED.into(), "yes".into());
            if unnamed {
                annotations.insert(BY_CONTROLLER.into(), "yes".into());
                claim.spec.get_or_insert_default().volume_name = volume.metadata.name.clone();
            }
            claim = self.api.update(&claim).await?;
            self.claims.note(&Key::cluster(""), &claim.metadata);
        }
        self.put_claim_status(claim, "Bound", Some(&volume))
            .await
            .map(drop)
    }
}
