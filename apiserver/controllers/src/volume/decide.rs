//! Which volume a claim gets.
//!
//! Invariant: pure; a volume that names the claim beats all others, else the smallest that is large enough of those that can be used in the fewest ways. Follows
//! pkg/controller/volume/persistentvolume/index.go and k8s.io/component-helpers/storage/volume/pv_helpers.go.

use std::{cmp::Reverse, collections::HashSet};

use k8s_openapi::{
    api::{
        core::v1::{ObjectReference, PersistentVolume, PersistentVolumeClaim},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::api::resource::Quantity as ApiQuantity,
};
use skiff_api::machinery::quantity::Quantity;
use skiff_api::machinery::quote::GoQuoted;
use skiff_podspec::parts::{HasSpec, HasStatus};
use skiff_podspec::storage::{self, class_of_claim, class_of_volume};

use crate::prelude::*;

/// Of the classes that are marked as default the newest; of those that are as new, the first by name. Follows pkg/volume/util/storageclass.go.
pub fn default_class(classes: &[Arc<StorageClass>]) -> Option<String> {
    let is_default = |class: &&Arc<StorageClass>| storage::is_default(class);
    let newest_first = |class: &&Arc<StorageClass>| {
        let made = class.metadata.creation_timestamp.as_ref();
        (
            Reverse(made.map(|made| made.0)),
            class.metadata.name().to_owned(),
        )
    };
    let class = classes.iter().filter(is_default).min_by_key(newest_first)?;
    Some(class.metadata.name().to_owned())
}

fn amount(quantity: Option<&ApiQuantity>) -> Result<Option<Quantity>, Error> {
    quantity
        .map(|q| {
            q.0.parse()
                .map_err(|e| failed!("quantity {}: {e}", GoQuoted(&q.0)))
        })
        .transpose()
}

/// The object that a reference names.
pub fn key_of(reference: &ObjectReference) -> Key {
    Key::new(
        reference.namespace.as_deref().unwrap_or(""),
        reference.name.as_deref().unwrap_or(""),
    )
}

/// The volume's capacity.
pub fn capacity(volume: &PersistentVolume) -> Result<Option<Quantity>, Error> {
    amount(
        volume
            .spec()
            .capacity
            .as_ref()
            .and_then(|c| c.get("storage")),
    )
}

/// What the claim has.
pub fn size(claim: &PersistentVolumeClaim) -> Result<Option<Quantity>, Error> {
    amount(
        claim
            .status()
            .capacity
            .as_ref()
            .and_then(|c| c.get("storage")),
    )
}

/// What the claim asks for.
pub fn request(claim: &PersistentVolumeClaim) -> Result<Option<Quantity>, Error> {
    amount(
        claim
            .spec()
            .resources
            .as_ref()
            .and_then(|r| r.requests.as_ref())
            .and_then(|r| r.get("storage")),
    )
}

fn mode(mode: Option<&String>) -> &str {
    mode.map_or("Filesystem", String::as_str)
}

/// Whether the reference names the claim: the very one, or one of its name.
pub fn names(reference: &ObjectReference, claim: &PersistentVolumeClaim) -> bool {
    let same =
        reference.name == claim.metadata.name && reference.namespace == claim.metadata.namespace;
    same && reference
        .uid
        .as_ref()
        .is_none_or(|uid| uid.is_empty() || Some(uid) == claim.metadata.uid.as_ref())
}

/// Whether the volume is the claim's already, by its uid.
pub fn is_bound_to(volume: &PersistentVolume, claim: &PersistentVolumeClaim) -> bool {
    volume
        .spec()
        .claim_ref
        .as_ref()
        .is_some_and(|r| names(r, claim) && r.uid.as_ref().is_some_and(|uid| !uid.is_empty()))
}

/// Why a volume that the claim names cannot be its own.
pub fn mismatch(
    volume: &PersistentVolume,
    claim: &PersistentVolumeClaim,
) -> Result<Option<&'static str>, Error> {
    if request(claim)? > capacity(volume)? {
        return Ok(Some("requested PV is too small"));
    }
    if class_of_volume(volume) != class_of_claim(claim) {
        return Ok(Some("storageClassName does not match"));
    }
    if mode(volume.spec().volume_mode.as_ref()) != mode(claim.spec().volume_mode.as_ref()) {
        return Ok(Some("incompatible volumeMode"));
    }
    let offered = volume.spec().access_modes.as_deref().unwrap_or(&[]);
    let fits = claim
        .spec()
        .access_modes
        .iter()
        .flatten()
        .all(|mode| offered.contains(mode));
    Ok((!fits).then_some("incompatible accessMode"))
}

/// The best volume for a claim. With `delayed` only one that names the claim.
pub fn best(
    volumes: &[Arc<PersistentVolume>],
    claim: &PersistentVolumeClaim,
    delayed: bool,
) -> Result<Option<Arc<PersistentVolume>>, Error> {
    let wants = claim.spec().selector.as_ref();
    let selector = wants.map(|s| selector::of(Some(s))).transpose()?;
    let wanted = request(claim)?;
    let mut found = None::<((usize, Quantity), Arc<PersistentVolume>)>;
    for volume in volumes {
        let mode_fits =
            mode(volume.spec().volume_mode.as_ref()) == mode(claim.spec().volume_mode.as_ref());
        if let Some(reference) = &volume.spec().claim_ref {
            if names(reference, claim) && mode_fits && capacity(volume)? >= wanted {
                return Ok(Some(volume.clone()));
            }
            continue;
        }
        let available = volume.status().phase.as_deref() == Some("Available");
        let labelled = selector
            .as_ref()
            .is_none_or(|s| s.matches(&volume.metadata.labels.as_ref()));
        if delayed
            || !available
            || volume.metadata.deletion_timestamp.is_some()
            || !labelled
            || mismatch(volume, claim)?.is_some()
        {
            continue;
        }
        let Some(size) = capacity(volume)? else {
            continue;
        };
        let modes = volume
            .spec()
            .access_modes
            .iter()
            .flatten()
            .collect::<HashSet<_>>();
        let rank = (modes.len(), size);
        if found.as_ref().is_none_or(|(best, other)| {
            (&rank, &volume.metadata.name) < (best, &other.metadata.name)
        }) {
            found = Some((rank, volume.clone()));
        }
    }
    Ok(found.map(|(_, volume)| volume))
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{
        PersistentVolumeClaimSpec, PersistentVolumeSpec, PersistentVolumeStatus,
        VolumeResourceRequirements,
    };

    fn volume(volume_name: &str, size: &str, class: &str) -> PersistentVolume {
        let spec = PersistentVolumeSpec {
            capacity: Some([("storage".to_string(), ApiQuantity(size.into()))].into()),
            storage_class_name: Some(class.into()),
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            ..Default::default()
        };
        let mut volume = PersistentVolume {
            spec: Some(spec),
            status: Some(PersistentVolumeStatus {
                phase: Some("Available".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        volume.metadata.name = Some(volume_name.into());
        volume
    }

    fn claim(size: &str, class: &str) -> PersistentVolumeClaim {
        let requests = Some([("storage".to_string(), ApiQuantity(size.into()))].into());
        let spec = PersistentVolumeClaimSpec {
            resources: Some(VolumeResourceRequirements {
                requests,
                limits: None,
            }),
            storage_class_name: Some(class.into()),
            access_modes: Some(vec!["ReadWriteOnce".into()]),
            ..Default::default()
        };
        let mut claim = PersistentVolumeClaim {
            spec: Some(spec),
            ..Default::default()
        };
        claim.metadata.name = Some("c".into());
        claim.metadata.namespace = Some("ns".into());
        claim
    }

    #[test]
    fn the_smallest_that_is_large_enough() {
        let mut named = volume("named", "50Gi", "x");
        named.spec.as_mut().unwrap().claim_ref = Some(ObjectReference {
            name: Some("c".into()),
            namespace: Some("ns".into()),
            ..Default::default()
        });
        let all = [
            volume("small", "1Gi", ""),
            volume("big", "20Gi", ""),
            volume("fits", "2Gi", ""),
            volume("other", "2Gi", "fast"),
        ]
        .map(Arc::new);
        let pick = |claim: &PersistentVolumeClaim, volumes: &[Arc<PersistentVolume>], delayed| {
            best(volumes, claim, delayed)
                .unwrap()
                .and_then(|v| v.metadata.name.clone())
        };
        assert_eq!(
            pick(&claim("1500Mi", ""), &all, false).as_deref(),
            Some("fits")
        );
        assert_eq!(pick(&claim("1500Mi", ""), &all, true), None);
        assert_eq!(
            pick(&claim("1Gi", "fast"), &all, false).as_deref(),
            Some("other")
        );
        assert_eq!(pick(&claim("50Gi", ""), &all, false), None);
        // what can be used in more ways is kept for who needs that
        let mut versatile = volume("versatile", "1500Mi", "");
        let ways = ["ReadWriteOnce", "ReadOnlyMany"].map(String::from);
        versatile.spec.as_mut().unwrap().access_modes = Some(ways.into());
        let with_versatile: Vec<_> = all.iter().cloned().chain([Arc::new(versatile)]).collect();
        assert_eq!(
            pick(&claim("1500Mi", ""), &with_versatile, false).as_deref(),
            Some("fits")
        );
        let mut many = claim("1Gi", "");
        many.spec.as_mut().unwrap().access_modes = Some(vec!["ReadOnlyMany".into()]);
        assert_eq!(
            pick(&many, &with_versatile, false).as_deref(),
            Some("versatile")
        );
        let with_named: Vec<_> = all.iter().cloned().chain([Arc::new(named)]).collect();
        assert_eq!(
            pick(&claim("1Gi", ""), &with_named, true).as_deref(),
            Some("named")
        );
    }
}
