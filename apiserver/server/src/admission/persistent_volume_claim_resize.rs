//! PersistentVolumeClaimResize: only a bound claim whose class allows it grows.
//!
//! Follows `plugin/pkg/admission/storage/persistentvolume/resize/admission.go`.

use async_trait::async_trait;
use serde_json::Value;
use skiff_api::machinery::{read::Read, status::Status, storage::class_of};

use super::{
    amounts,
    plugin::{Attributes, Operation, Plugin},
};

pub struct PersistentVolumeClaimResize;

#[async_trait]
impl Plugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_one(&[Operation::Update], "", "persistentvolumeclaims")
    }

    async fn validate(&self, attributes: &Attributes<'_>) -> Result<(), Status> {
        let (Some(new), Some(old)) = (&attributes.object, attributes.old) else {
            return Ok(());
        };
        let size = |claim: &Value| {
            let asked = amounts::read(claim.at("spec").at("resources").at("requests"));
            Ok::<_, Status>(asked?.remove("storage"))
        };
        if size(new)? <= size(old)? {
            return Ok(());
        }
        if old.at("status").text("phase") != "Bound" {
            return Err(attributes.forbidden("Only bound persistent volume claims can be expanded"));
        }
        let (was, is) = (class_of(old).unwrap_or(""), class_of(new).unwrap_or(""));
        let allowed = match (!is.is_empty() && was == is)
            .then(|| attributes.look_up("storageclasses.storage.k8s.io", "", is))
            .transpose()?
        {
            Some(Some(class)) => class.flag("allowVolumeExpansion"),
            _ => false,
        };
        match allowed {
            true => Ok(()),
            false => {
                let why = "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize";
                Err(attributes.forbidden(why))
            }
        }
    }
}
