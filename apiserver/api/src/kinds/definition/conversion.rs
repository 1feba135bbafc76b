//! The webhook that converts between the versions of a definition, as the definition names it. Who asks it is not here: nothing is sent from this crate.
//!
//! Follows `webhookClientConfigForCRD` of `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go`.

use serde_json::Value;

use crate::machinery::{meta::Meta, read::Read};

/// A webhook that converts between versions.
#[derive(Debug, PartialEq)]
pub struct ConversionWebhook {
    /// The name of the definition.
    pub definition: String,
    /// `clientConfig`: where it is, and whom to believe there.
    pub client: Value,
    /// The versions of the question that it understands, the best first.
    pub review_versions: Vec<String>,
    /// `group/version` of all versions of the definition, served or not.
    pub versions: Vec<String>,
}

impl ConversionWebhook {
    /// That of a definition; `None`: its versions differ in their names alone.
    pub fn of(definition: &Value) -> Option<ConversionWebhook> {
        let spec = definition.at("spec");
        let conversion = spec.at("conversion");
        if conversion.text("strategy") != "Webhook" {
            return None;
        }
        let webhook = conversion.at("webhook");
        let group = spec.text("group");
        let versions = spec.list("versions").iter();
        Some(ConversionWebhook {
            definition: definition.name().into(),
            client: webhook.at("clientConfig").clone(),
            review_versions: webhook
                .texts("conversionReviewVersions")
                .map(str::to_string)
                .collect(),
            versions: versions
                .map(|version| format!("{group}/{}", version.text("name")))
                .collect(),
        })
    }
}
