//! Controllers of volumes and claims.
//!
//! Invariant: none of them touches what is on a volume. Follows pkg/controller/volume.

pub mod binder;
pub mod class_protection;
mod decide;
pub mod ephemeral;
pub mod expander;
mod fate;
pub mod protection;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Volume};
use skiff_podspec::parts::{HasSpec, Meta};
use skiff_podspec::pod::Pod;

use crate::owners::is_controlled_by;

/// The name of the claim of an ephemeral volume.
fn ephemeral_claim(pod: &Pod, volume: &Volume) -> String {
    format!("{}-{}", pod.metadata.name(), volume.name)
}

/// Whether the pod mentions the claim.
fn mentions(pod: &Pod, claim: &PersistentVolumeClaim) -> bool {
    let claim_name = claim.metadata.name();
    pod.spec().volumes.iter().flatten().any(|volume| {
        let named = volume
            .persistent_volume_claim
            .as_ref()
            .is_some_and(|c| c.claim_name == claim_name);
        named
            || (volume.ephemeral.is_some()
                && ephemeral_claim(pod, volume) == claim_name
                && is_controlled_by(&claim.metadata, &pod.metadata))
    })
}
