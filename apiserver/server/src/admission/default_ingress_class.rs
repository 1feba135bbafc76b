//! DefaultIngressClass: an ingress that names no class gets the newest default one.
//!
//! Follows `plugin/pkg/admission/network/defaultingressclass/admission.go`.

use async_trait::async_trait;
use skiff_api::machinery::{read::Read, status::Status};

use super::{
    default_storage_class::newest_default,
    plugin::{Attributes, Operation, Plugin},
};

const CLASSES: &str = "ingressclasses.networking.k8s.io";
const MARK: &str = "ingressclass.kubernetes.io/is-default-class";
const OLD_CLASS: &str = "kubernetes.io/ingress.class";

pub struct DefaultIngressClass;

#[async_trait]
impl Plugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_one(&[Operation::Create], "networking.k8s.io", "ingresses")
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(ingress) = &attributes.object else {
            return Ok(());
        };
        if ingress.at("spec").at("ingressClassName").is_string()
            || ingress
                .at("metadata")
                .at("annotations")
                .get(OLD_CLASS)
                .is_some()
        {
            return Ok(());
        }
        let default = newest_default(attributes, CLASSES, &[MARK])?;
        if let (Some(ingress), Some(name)) = (attributes.object.as_mut(), default) {
            ingress["spec"]["ingressClassName"] = name.into();
        }
        Ok(())
    }
}
