//! The ephemeral volume controller: makes the claims of pods' ephemeral volumes.
//!
//! Invariant: the pod owns the claim, and a claim of that name that is not the pod's is never used. Follows
//! pkg/controller/volume/ephemeral/controller.go.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Volume},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use skiff_podspec::pod::Pod;

use super::ephemeral_claim;
use crate::{
    dependents::owner_of,
    owners::{controller_ref, is_controlled_by},
    pods,
    prelude::*,
};

struct Controller {
    api: Api,
    recorder: Recorder,
    pods: Informer<Pod>,
    claims: Informer<PersistentVolumeClaim>,
}

/// `ephemeral-volume-controller`.
pub fn start(context: &Context) -> Result<Work, Error> {
    let c = context.wire(
        "ephemeral_volume",
        Controller {
            api: context.api.clone(),
            recorder: context.recorder("ephemeral_volume"),
            pods: context.informer(),
            claims: context.informer(),
        },
    );
    let is_new = |change: &Change<Pod>| {
        let pod = change.object();
        let has_ephemeral = pod
            .spec()
            .volumes
            .iter()
            .flatten()
            .any(|v| v.ephemeral.is_some());
        has_ephemeral && matches!(change, Change::Added(_)) && !pods::is_deleting(pod)
    };
    c.each_if(&c.pods, is_new);
    c.on(&c.claims, |c, change, queue| {
        if let Change::Deleted(claim) = change
            && let Some(pod) = owner_of(&c.pods, &claim.metadata)
        {
            queue.add(Key::of(&pod.metadata));
        }
    });
    Ok(c.workers())
}

impl Controller {
    async fn make(&self, pod: &Pod, volume: &Volume) -> Result<(), Error> {
        let Some(template) = volume
            .ephemeral
            .as_ref()
            .and_then(|e| e.volume_claim_template.as_ref())
        else {
            return Ok(());
        };
        let claim_name = ephemeral_claim(pod, volume);
        let namespace = pod.metadata.namespace.clone();
        if let Some(claim) = self
            .claims
            .get(&Key::new(namespace.as_deref().unwrap_or(""), &claim_name))
        {
            if is_controlled_by(&claim.metadata, &pod.metadata) {
                return Ok(());
            }
            let (space, pod_name) = (namespace.unwrap_or_default(), pod.metadata.name());
            return Err(failed!(
                "PVC {space}/{claim_name} was not created for pod {space}/{pod_name} (pod is not owner)"
            ));
        }
        let meta = template.metadata.clone().unwrap_or_default();
        let metadata = ObjectMeta {
            name: Some(claim_name.clone()),
            namespace,
            labels: meta.labels,
            annotations: meta.annotations,
            owner_references: Some(vec![controller_ref(pod)]),
            ..Default::default()
        };
        let claim = PersistentVolumeClaim {
            metadata,
            spec: Some(template.spec.clone()),
            status: None,
        };
        self.api
            .create_quietly(&claim)
            .await
            .map(drop)
            .map_err(|e| failed!("create PVC {claim_name}: {e}"))
    }
}

impl Reconcile<Key> for Controller {
    const NAME: &'static str = "ephemeral-volume-controller";

    async fn reconcile(&self, key: &Key) -> Result<Next, Error> {
        let Some(pod) = self.pods.get(key).filter(|pod| !pods::is_deleting(pod)) else {
            return Ok(Next::DONE);
        };
        for volume in pod.spec().volumes.iter().flatten() {
            if let Err(error) = self.make(&pod, volume).await {
                let message = format!("ephemeral volume {}: {error}", volume.name);
                self.recorder.warning(&*pod, "FailedBinding", message);
                return Err(failed!(
                    "pod {key}, ephemeral volume {}: {error}",
                    volume.name
                ));
            }
        }
        Ok(Next::DONE)
    }
}
