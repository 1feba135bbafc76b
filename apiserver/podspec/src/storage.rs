//! Of which class of storage claims and volumes are.
//!
//! Invariant: pure. Follows `staging/src/k8s.io/component-helpers/storage/volume/helpers.go`.

use k8s_openapi::api::{
    core::v1::{PersistentVolume, PersistentVolumeClaim},
    storage::v1::StorageClass,
};
pub use skiff_api::machinery::storage::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, DEFAULT_CLASS, LEFT_TO, OLD_CLASS, PROVISIONED_BY,
    SELECTED_NODE,
};

use crate::parts::{HasSpec, Meta};

/// The class that a claim names; `None` where it says nothing of one, even not that it wants none.
pub fn named_class(claim: &PersistentVolumeClaim) -> Option<&str> {
    let named = || claim.spec().storage_class_name.as_deref();
    claim.metadata.annotation(OLD_CLASS).or_else(named)
}

/// The claim's class; empty when it has none.
pub fn class_of_claim(claim: &PersistentVolumeClaim) -> &str {
    named_class(claim).unwrap_or("")
}

/// The volume's class; empty when it has none.
pub fn class_of_volume(volume: &PersistentVolume) -> &str {
    let named = || volume.spec().storage_class_name.as_deref();
    let old = volume.metadata.annotation(OLD_CLASS);
    old.or_else(named).unwrap_or("")
}

/// Whether a class is the default one.
pub fn is_default(class: &StorageClass) -> bool {
    let mut marks = DEFAULT_CLASS.iter();
    marks.any(|mark| class.metadata.annotation(mark) == Some("true"))
}
