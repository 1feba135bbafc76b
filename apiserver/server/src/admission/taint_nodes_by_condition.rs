//! TaintNodesByCondition: a new node takes no pods until the node lifecycle controller has seen it ready.
//!
//! Follows `plugin/pkg/admission/nodetaint/admission.go`.

use async_trait::async_trait;
use serde_json::json;
use skiff_api::machinery::{read::Read, status::Status};

use super::plugin::{Attributes, Operation, Plugin};

const NOT_READY: &str = "node.kubernetes.io/not-ready";

pub struct TaintNodesByCondition;

#[async_trait]
impl Plugin for TaintNodesByCondition {
    fn name(&self) -> &'static str {
        "TaintNodesByCondition"
    }

    fn handles(&self, attributes: &Attributes<'_>) -> bool {
        attributes.is_one(&[Operation::Create], "", "nodes")
    }

    async fn admit(&self, attributes: &mut Attributes<'_>) -> Result<(), Status> {
        let Some(node) = attributes.object.as_mut() else {
            return Ok(());
        };
        let spec = skiff_api::machinery::meta::child_mut(node, "spec");
        if let Some(taints) = spec
            .entry("taints")
            .or_insert_with(|| json!([]))
            .as_array_mut()
            && !taints
                .iter()
                .any(|taint| taint["key"] == NOT_READY && taint.text("effect") == "NoSchedule")
        {
            taints.push(json!({"key": NOT_READY, "effect": "NoSchedule"}));
        }
        Ok(())
    }
}
