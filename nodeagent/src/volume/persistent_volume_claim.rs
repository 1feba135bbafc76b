//! `persistentVolumeClaim`: the volume that the claim is bound to, when that is a path of this node.
//!
//! Follows `pkg/kubelet/volumemanager/populator` and `pkg/volume/local`.

use std::path::Path;

use k8s_openapi::api::core::v1::{
    PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimVolumeSource,
};

use super::{Error, Request, give_to_group, host_path};
use crate::{
    objects,
    pod::{
        mounted::Mounted,
        names::{name, namespace, uid},
    },
};

pub async fn set_up(
    request: &Request<'_>,
    source: &PersistentVolumeClaimVolumeSource,
) -> Result<Mounted, Error> {
    let claim = claim(request, &source.claim_name).await?;
    bound(request, claim, source.read_only == Some(true)).await
}

/// `ephemeral`: the claim that was made for the pod, and belongs to it.
pub async fn of_pod(request: &Request<'_>) -> Result<Mounted, Error> {
    let claim_name = format!("{}-{}", name(request.pod), request.name);
    let claim = claim(request, &claim_name).await?;
    let owned = claim
        .metadata
        .owner_references
        .iter()
        .flatten()
        .any(|owner| owner.uid == uid(request.pod));
    if !owned {
        return Err(Error::Refused(format!(
            "PVC {}/{claim_name} was not created for pod {}/{} (pod is not owner)",
            namespace(request.pod),
            namespace(request.pod),
            name(request.pod)
        )));
    }
    bound(request, claim, false).await
}

async fn claim(request: &Request<'_>, name: &str) -> Result<PersistentVolumeClaim, Error> {
    Ok(request
        .node
        .api
        .get(namespace(request.pod), name)
        .await
        .map_err(objects::Error::from)?)
}

async fn bound(
    request: &Request<'_>,
    claim: PersistentVolumeClaim,
    wants_read_only: bool,
) -> Result<Mounted, Error> {
    let name = claim.metadata.name.clone().unwrap_or_default();
    let bound = claim
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        == Some("Bound");
    let volume = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_name.clone())
        .filter(|volume| bound && !volume.is_empty());
    let Some(volume) = volume else {
        return Err(Error::Refused(format!(
            "PVC {}/{name} is not bound",
            namespace(request.pod)
        )));
    };
    let volume = request
        .node
        .api
        .get::<PersistentVolume>("", &volume)
        .await
        .map_err(objects::Error::from)?;
    let spec = volume.spec.unwrap_or_default();
    if spec.volume_mode.as_deref() == Some("Block") {
        return Err(Error::Unsupported(
            "persistentVolumeClaim with volumeMode Block",
        ));
    }
    let mut mounted = match (&spec.host_path, &spec.local) {
        (Some(path), _) => host_path::check(
            Path::new(&path.path),
            path.type_.as_deref().unwrap_or_default(),
        )?,
        (None, Some(local)) => host_path::check(Path::new(&local.path), "Directory")?,
        (None, None) => {
            return Err(Error::Unsupported(
                "persistentVolumeClaim other than hostPath and local",
            ));
        }
    };
    let read_only = |modes: &Option<Vec<String>>| {
        modes.as_ref().is_some_and(|modes| {
            !modes.is_empty() && modes.iter().all(|mode| mode == "ReadOnlyMany")
        })
    };
    mounted.read_only = wants_read_only || read_only(&spec.access_modes);
    if let (Some(group), true, false) =
        (request.fs_group(), spec.local.is_some(), mounted.read_only)
    {
        give_to_group(&mounted.path, group)?;
    }
    Ok(mounted)
}
