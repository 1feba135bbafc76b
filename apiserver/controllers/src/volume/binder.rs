//! The persistent volume binder: brings claims and volumes together, and follows what becomes of them.
//!
//! Invariant: the volume is marked first, then the claim: whatever breaks off in between, no volume has two claims. There are no
//! provisioners, deleters or recyclers built in: those of others are waited for. Follows
//! pkg/controller/volume/persistentvolume/pv_controller.go.

use k8s_openapi::api::{
    core::v1::{
        ObjectReference, PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimStatus,
    },
    storage::v1::StorageClass,
};
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::{
    pod::Pod,
    storage::{
        BIND_COMPLETED, BOUND_BY_CONTROLLER, LEFT_TO, PROVISIONED_BY, class_of_claim, named_class,
    },
};

use super::{
    decide,
    fate::{self, Fate, Known, Told, VolumeFate},
    mentions,
};
use crate::{pods, prelude::*};

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
    let c = context.wire(
        "claims",
        Binder {
            api: context.api.clone(),
            recorder: context.recorder("persistentvolume-controller"),
            volumes: context.fresh(),
            claims: context.fresh(),
            classes: context.informer(),
            pods: context.informer(),
        },
    );
    c.each(&c.volumes);
    c.on(&c.volumes, |c, change, queue| {
        if let Some(reference) = &change.object().spec().claim_ref {
            queue.add(decide::key_of(reference));
        } else if !matches!(change, Change::Deleted(_)) {
            let searching = |claim: &Arc<PersistentVolumeClaim>| claim.spec().volume_name.is_none();
            wake(queue, c.claims.list().into_iter().filter(searching));
        }
    });
    c.each(&c.claims);
    c.on(&c.claims, |_, change, queue| {
        if let Some(volume) = &change.object().spec().volume_name {
            queue.add(Key::cluster(volume));
        }
    });
    c.on(&c.classes, |c, change, queue| {
        let class = change.object().metadata.name();
        let of_class = |claim: &Arc<PersistentVolumeClaim>| {
            class_of_claim(claim) == class || named_class(claim).is_none()
        };
        wake(queue, c.claims.list().into_iter().filter(of_class));
    });
    Ok(c.some_workers(1))
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

/// Why nobody here deletes what is on a volume. Folders of machines are left alone, as controllers need not run on the machine that is meant.
fn why_not_deleted(volume: &PersistentVolume) -> String {
    match &volume.spec().host_path {
        Some(folder) if !is_temporary(&folder.path) => format!(
            "host_path deleter only supports /tmp/.+ but received provided {}",
            folder.path
        ),
        _ => format!(
            "error getting deleter volume plugin for volume {}: no {}volume plugin matched",
            GoQuoted(&volume.metadata.name()),
            // what it would take is known there, but not how it is deleted
            if volume.spec().nfs.is_some() {
                "deletable "
            } else {
                ""
            }
        ),
    }
}

fn is_temporary(path: &str) -> bool {
    path.strip_prefix("/tmp/")
        .is_some_and(|rest| !rest.is_empty())
}

impl Binder {
    async fn put_volume(&self, volume: &PersistentVolume) -> Result<PersistentVolume, Error> {
        let written = self.api.update(volume).await?;
        self.volumes.note(&Key::cluster(""), &written.metadata);
        Ok(written)
    }

    async fn put_claim(
        &self,
        claim: &PersistentVolumeClaim,
    ) -> Result<PersistentVolumeClaim, Error> {
        let written = self.api.update(claim).await?;
        self.claims.note(&Key::cluster(""), &written.metadata);
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
        let reference = volume.spec().claim_ref.as_ref();
        let of_uid = reference.and_then(|r| Some((decide::key_of(r), r.uid.clone()?)));
        let Some((key, uid)) = of_uid.filter(|(_, uid)| !uid.is_empty()) else {
            return self.set_phase(volume, "Available", "").await.map(drop);
        };
        let is_it = |claim: &PersistentVolumeClaim| claim.metadata.uid() == uid;
        let mut claim = self.claims.get(&key).filter(|claim| is_it(claim));
        if claim.is_none() {
            let live = self
                .api
                .get::<PersistentVolumeClaim>(key.namespace(), key.name())
                .await;
            claim = unless_gone(live)?.filter(is_it).map(Arc::new);
        }
        match fate::of_volume(&volume, claim.as_deref()) {
            VolumeFate::Leave => Ok(()),
            VolumeFate::Bound => self.set_phase(volume, "Bound", "").await.map(drop),
            VolumeFate::Unbind => self.unbind(volume).await,
            VolumeFate::Release => self.release(volume).await,
        }
    }

    /// The claim has another volume: this one is free again, still kept for whom it names.
    async fn unbind(&self, mut volume: PersistentVolume) -> Result<(), Error> {
        let by_controller = volume
            .metadata
            .annotations
            .as_mut()
            .is_some_and(|a| a.remove(BOUND_BY_CONTROLLER).is_some());
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
            "Delete" if !others => ("VolumeFailedDelete", why_not_deleted(&volume)),
            _ => return Ok(()),
        };
        self.recorder.warning(&volume, reason, message.clone());
        self.set_phase(volume, "Failed", &message).await.map(drop)
    }

    fn fate(&self, claim: &PersistentVolumeClaim) -> Result<Fate, Error> {
        let named = claim.spec().volume_name.as_deref().unwrap_or("");
        let users = || {
            let pods = self
                .pods
                .in_namespace(claim.metadata.namespace())
                .into_iter();
            let users = pods.filter(|pod| !pods::is_finished(pod) && mentions(pod, claim));
            users.map(|pod| pod.metadata.name().to_string()).collect()
        };
        let known = Known {
            named: self.volumes.get(&Key::cluster(named)),
            volumes: &|| self.volumes.list(),
            class: self.classes.get(&Key::cluster(class_of_claim(claim))),
            default: &|| decide::default_class(&self.classes.list()),
            users: &users,
        };
        fate::of_claim(claim, &known)
    }

    async fn sync_claim(&self, claim: PersistentVolumeClaim) -> Result<(), Error> {
        let tell = |claim: &PersistentVolumeClaim, told: Told| {
            self.recorder
                .event(claim, told.kind, told.reason, told.message);
        };
        match self.fate(&claim)? {
            Fate::Leave => Ok(()),
            Fate::Bind(volume) => self.bind((*volume).clone(), claim).await,
            Fate::Classify(class) => self.classify(claim, class).await,
            Fate::Provision(class) => self.provision(claim, &class).await,
            Fate::Wait(told) => {
                told.into_iter().for_each(|told| tell(&claim, told));
                self.put_claim_status(claim, "Pending", None)
                    .await
                    .map(drop)
            }
            Fate::Lose(told) => {
                if self.put_claim_status(claim.clone(), "Lost", None).await? {
                    tell(&claim, told);
                }
                Ok(())
            }
        }
    }

    /// Makes the claim one of a class; what follows from that comes with the claim's change.
    async fn classify(&self, mut claim: PersistentVolumeClaim, class: String) -> Result<(), Error> {
        claim.spec.get_or_insert_default().storage_class_name = Some(class);
        self.put_claim(&claim).await.map(drop)
    }

    /// Leaves the claim to the provisioner that its class names.
    async fn provision(
        &self,
        mut claim: PersistentVolumeClaim,
        class: &StorageClass,
    ) -> Result<(), Error> {
        let driver = fate::driver(&class.provisioner);
        let annotations = claim.metadata.annotations.get_or_insert_default();
        if LEFT_TO
            .iter()
            .any(|key| annotations.get(*key).map(String::as_str) != Some(driver))
        {
            for key in LEFT_TO {
                annotations.insert(key.into(), driver.into());
            }
            claim = self.put_claim(&claim).await?;
        }
        let message = format!(
            "Waiting for a volume to be created either by the external provisioner '{}' or manually by the system administrator. If volume creation is \
             delayed, please verify that the provisioner is running and correctly registered.",
            driver
        );
        self.recorder
            .normal(&claim, "ExternalProvisioning", message);
        self.put_claim_status(claim, "Pending", None)
            .await
            .map(drop)
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
                    .insert(BOUND_BY_CONTROLLER.into(), "yes".into());
            }
            volume = self.put_volume(&volume).await?;
        }
        let volume = self.set_phase(volume, "Bound", "").await?;
        let unnamed = claim.spec().volume_name.as_deref().unwrap_or("").is_empty();
        if unnamed || claim.metadata.annotation(BIND_COMPLETED).is_none() {
            let annotations = claim.metadata.annotations.get_or_insert_default();
            annotations.insert(BIND_COMPLETED.into(), "yes".into());
            if unnamed {
                annotations.insert(BOUND_BY_CONTROLLER.into(), "yes".into());
                claim.spec.get_or_insert_default().volume_name = volume.metadata.name.clone();
            }
            claim = self.put_claim(&claim).await?;
        }
        self.put_claim_status(claim, "Bound", Some(&volume))
            .await
            .map(drop)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn what_nobody_deletes() {
        let volume = |source| {
            let mut volume = json!({"metadata": {"name": "v"}, "spec": source});
            volume["spec"]["capacity"] = json!({"storage": "1Gi"});
            from_value::<PersistentVolume>(volume).unwrap()
        };
        let unmatched =
            "error getting deleter volume plugin for volume \"v\": no volume plugin matched";
        let folder = |path: &str| json!({"hostPath": {"path": path}});
        for (source, why) in [
            (
                folder("/srv/x"),
                "host_path deleter only supports /tmp/.+ but received provided /srv/x",
            ),
            (
                folder("/tmp/"),
                "host_path deleter only supports /tmp/.+ but received provided /tmp/",
            ),
            (folder("/tmp/x"), unmatched),
            (json!({"local": {"path": "/srv/x"}}), unmatched),
            (
                json!({"nfs": {"server": "s", "path": "/x"}}),
                "error getting deleter volume plugin for volume \"v\": no deletable volume plugin matched",
            ),
        ] {
            assert_eq!(why_not_deleted(&volume(source.clone())), why, "{source}");
        }
    }
}
