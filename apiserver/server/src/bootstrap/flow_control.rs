//! The FlowSchemas and PriorityLevelConfigurations of a new cluster.
//!
//! Invariant: what is there is left alone, but for a specification that differs and is annotated to be kept up to date.
//! Follows `pkg/registry/flowcontrol/{ensurer,rest}` and what `apf_controller.go` of `k8s.io/apiserver` says of a FlowSchema whose level exists.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use skiff_api::{
    kinds::rows::flowcontrol::bootstrap::{flow_schemas, priority_levels},
    machinery::{meta::Meta, read::Read, status::Status, time},
};

use crate::{
    own::{Own, ready},
    write::{Part, Writer},
};

const FLOWS: &str = "flowschemas.flowcontrol.apiserver.k8s.io";
const LEVELS: &str = "prioritylevelconfigurations.flowcontrol.apiserver.k8s.io";
const KEPT: &str = "apf.kubernetes.io/autoupdate-spec";

pub(super) async fn run(writer: &Arc<Writer>) -> Result<(), Status> {
    let producer = &Own::managing(writer, "api-priority-and-fairness-config-producer-v1");
    let consumer = &Own::managing(writer, "api-priority-and-fairness-config-consumer-v1");
    let levels = priority_levels().map(|level| (LEVELS, level));
    let wanted = levels.chain(flow_schemas().map(|flow| (FLOWS, flow)));
    let writes = wanted.map(|(resource, value)| one(producer, consumer, resource, value));
    stream::iter(writes)
        .buffer_unordered(32)
        .try_collect()
        .await
}

async fn one(producer: &Own, consumer: &Own, resource: &str, value: Value) -> Result<(), Status> {
    let row = producer.row(resource)?;
    let name = value.name().to_string();
    let spec = value.at("spec");
    let level = spec.some("priorityLevelConfiguration");
    let level = level.map(|level| level.text("name").to_string());
    match producer.stored(row, "", &name)? {
        None => producer.ensure(resource, value).await?,
        Some(found) => {
            let expected = ready(row, value)?;
            if outdated(&found, &expected) {
                let mut compute = |live: Option<&Value>| {
                    let mut new = live.unwrap_or(&expected).clone();
                    if outdated(&new, &expected) {
                        new["spec"] = expected.at("spec").clone();
                    }
                    Ok(new)
                };
                producer
                    .update(row, ("", &name), Part::Whole, &mut compute)
                    .await?;
            }
        }
    }
    let Some(level) = level else { return Ok(()) };
    let message = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"
    );
    let now = time::seconds(producer.writer.core.now());
    let condition = json!({"type": "Dangling", "status": "False", "reason": "Found", "message": message, "lastTransitionTime": now});
    let status = json!({"conditions": [condition]});
    let told = |live: &Value| {
        let conditions = live.at("status").list("conditions");
        conditions.iter().any(|of| of.text("type") == "Dangling")
    };
    consumer.apply_status(FLOWS, &name, &status, &told).await
}

/// Whether an object is to follow what this version of the program says, and does not.
fn outdated(live: &Value, expected: &Value) -> bool {
    let kept = live.at("metadata").at("annotations").text(KEPT);
    kept == "true" && live.at("spec") != expected.at("spec")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_wants_no_updates_gets_none() {
        let object = |kept: &str, spec: i64| json!({"metadata": {"annotations": {KEPT: kept}}, "spec": spec});
        assert!(outdated(&object("true", 1), &object("true", 2)));
        assert!(!outdated(&object("true", 2), &object("true", 2)));
        assert!(!outdated(&object("false", 1), &object("true", 2)));
        assert!(!outdated(&json!({"spec": 1}), &object("true", 2)));
    }
}
