//! DefaultStorageClass: a claim that names no class gets the newest default one.
//!
//! Follows `plugin/pkg/admission/storage/storageclass/setdefault/admission.go`.

use async_trait::async_trait;
use skiff_api::machinery::{
    meta::Meta,
    status::Status,
    storage::{DEFAULT_CLASS, class_of},
};

use super::plugin::{Attributes, Operation, Plugin};

const CLASSES: &str = "storageclasses.storage.k8s.io";

pub struct DefaultStorageClass;

#[async_trait]
impl Plugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_one(&[Operation::Create], "", "persistentvolumeclaims")
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(claim) = &attributes.object else {
            return Ok(());
        };
        if class_of(claim).is_some() {
            return Ok(());
        }
        let default = newest_default(attributes, CLASSES, &DEFAULT_CLASS)?;
        if let (Some(claim), Some(name)) = (attributes.object.as_mut(), default) {
            claim["spec"]["storageClassName"] = name.into();
        }
        Ok(())
    }
}

/// Of the objects that bear one of the annotations with the value `true`, the newest; of those that are as new, the first by name.
pub fn newest_default(
    attributes: &Attributes<'_>,
    resource: &str,
    marks: &[&str],
) -> Result<Option<String>, Status> {
    let mut marked: Vec<(String, String)> = attributes
        .list(resource, None)?
        .into_iter()
        .filter(|class| {
            marks
                .iter()
                .any(|mark| class["metadata"]["annotations"][*mark] == "true")
        })
        .map(|class| {
            (
                class.meta_str("creationTimestamp").to_string(),
                class.name().to_string(),
            )
        })
        .collect();
    marked.sort_by(|(a_time, a_name), (b_time, b_name)| {
        b_time.cmp(a_time).then_with(|| a_name.cmp(b_name))
    });
    Ok(marked.into_iter().next().map(|(_, name)| name))
}
