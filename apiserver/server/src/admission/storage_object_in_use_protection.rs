//! StorageObjectInUseProtection: claims and volumes get the finalizers that keep them while they are used.
//!
//! Follows `plugin/pkg/admission/storage/storageobjectinuseprotection/admission.go`.

use async_trait::async_trait;
use serde_json::json;
use skiff_api::machinery::{meta::Meta, status::Status};

use super::plugin::{Attributes, Operation, Plugin};

/// Resources and their finalizers.
const PROTECTED: [(&str, &str, &str); 3] = [
    ("", "persistentvolumes", "kubernetes.io/pv-protection"),
    ("", "persistentvolumeclaims", "kubernetes.io/pvc-protection"),
    (
        "storage.k8s.io",
        "volumeattributesclasses",
        "kubernetes.io/vac-protection",
    ),
];

pub struct StorageObjectInUseProtection;

#[async_trait]
impl Plugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        PROTECTED
            .iter()
            .any(|(group, plural, _)| attributes.is_one(&[Operation::Create], group, plural))
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let finalizer = PROTECTED
            .iter()
            .find(|(_, plural, _)| *plural == attributes.kind.plural)
            .map(|(_, _, finalizer)| *finalizer);
        let (Some(object), Some(finalizer)) = (attributes.object.as_mut(), finalizer) else {
            return Ok(());
        };
        if object.finalizers().any(|had| had == finalizer) {
            return Ok(());
        }
        if let Some(list) = object
            .meta_mut()
            .entry("finalizers")
            .or_insert_with(|| json!([]))
            .as_array_mut()
        {
            list.push(finalizer.into());
        }
        Ok(())
    }
}
