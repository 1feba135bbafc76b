//! PodTopologyLabels: a pod bears the zone and the region of the node that it goes to.
//!
//! Invariant: what the node says wins over what the pod said. Follows `plugin/pkg/admission/podtopologylabels/admission.go`.

use async_trait::async_trait;
use serde_json::{Map, Value};
use skiff_api::machinery::{
    meta::{Meta, child_mut},
    read::Read,
    status::Status,
};

use super::plugin::{Attributes, Operation, Plugin};

const LABELS: [&str; 2] = [
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

pub struct PodTopologyLabels;

#[async_trait]
impl Plugin for PodTopologyLabels {
    fn name(&self) -> &'static str {
        "PodTopologyLabels"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        let binds = attributes.kind.plural == "pods"
            && attributes.kind.group.is_empty()
            && attributes.subresource == "binding";
        attributes.operation == Operation::Create && (binds || attributes.is("", "pods"))
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        // what a binding bears, its pod gets
        let node_of = |object: &Value| match attributes.subresource {
            "binding" => object.at("target").text("name").to_string(),
            _ => object.at("spec").text("nodeName").to_string(),
        };
        let name = attributes.object.as_ref().map(node_of).unwrap_or_default();
        if name.is_empty() {
            return Ok(());
        }
        let Some(node) = attributes.look_up("nodes", "", &name)? else {
            return Ok(());
        };
        let found: Map<String, Value> = LABELS
            .iter()
            .filter_map(|key| Some((key.to_string(), node.label(key)?.into())))
            .collect();
        let Some(pod) = attributes.object.as_mut().filter(|_| !found.is_empty()) else {
            return Ok(());
        };
        child_mut(&mut pod["metadata"], "labels").extend(found);
        Ok(())
    }
}
