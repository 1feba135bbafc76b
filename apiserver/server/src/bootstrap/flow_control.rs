//! The FlowSchemas and PriorityLevelConfigurations of a new cluster.
//!
//! Invariant: what is there is left alone, but for a specification that differs and is annotated to be kept up to date.
//! Follows `pkg/registry/flowcontrol/{ensurer,rest}` and what `apf_controller.go` of `k8s.io/apiserver` says of a FlowSchema whose level exists.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use skiff_api::{
    kinds::rows::flowcontrol::bootstrap::{flow_schemas, priority_levels},
    machinery::{meta::Meta, status::Status, time},
};

use super::{apply_status, ensure_row, own_context, ready};
use crate::{app::App, context::Context, request::Query, stored, write};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const FLOWS: &str = "flowschemas";
const LEVELS: &str = "prioritylevelconfigurations";
const KEPT: &str = "apf.kubernetes.io/autoupdate-spec";

pub(super) async fn run(app: &Arc<App>) -> Result<(), Status> {
    let ctx = Context {
        query: Query::read(Some(
            "fieldManager=api-priority-and-fairness-config-producer-v1",
        )),
        ..own_context(app)
    };
    let wanted = priority_levels()
        .map(|level| (LEVELS, level))
        .chain(flow_schemas().map(|flow| (FLOWS, flow)));
    let writes = wanted.map(|(plural, value)| one(app, &ctx, plural, value));
    stream::iter(writes)
        .buffer_unordered(32)
        .try_collect()
        .await
}

async fn one(app: &Arc<App>, ctx: &Context, plural: &str, value: Value) -> Result<(), Status> {
    let row = ctx
        .kinds
        .find(GROUP, "v1", plural)
        .ok_or_else(|| Status::internal(format!("no row for {plural}.{GROUP}")))?;
    let name = value.name().to_string();
    let level = value["spec"]["priorityLevelConfiguration"]["name"]
        .as_str()
        .map(str::to_string);
    match ctx.app.store.get(&stored::key_of(row, "", &name)) {
        None => ensure_row(ctx, row, "", value).await?,
        Some(found) => {
            let expected = ready(row, value)?;
            if outdated(&stored::decoded(row, &found)?, &expected) {
                let mut compute = |live: Option<&Value>| {
                    let mut new = live.cloned().unwrap_or_default();
                    if outdated(&new, &expected) {
                        new["spec"] = expected["spec"].clone();
                    }
                    Ok(new)
                };
                write::update(
                    ctx,
                    row,
                    "",
                    &name,
                    write::Update::of(write::Part::Whole),
                    &mut compute,
                )
                .await?;
            }
        }
    }
    let Some(level) = level else { return Ok(()) };
    let message = format!(
        "This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"
    );
    let now = time::seconds(app.clock.now());
    let condition = json!({"type": "Dangling", "status": "False", "reason": "Found", "message": message, "lastTransitionTime": now});
    let told = |live: &Value| {
        live["status"]["conditions"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| one["type"] == "Dangling"))
    };
    apply_status(
        app,
        "api-priority-and-fairness-config-consumer-v1",
        [GROUP, "v1", FLOWS],
        &name,
        &json!({"conditions": [condition]}),
        &told,
    )
    .await
}

/// Whether an object is to follow what this version of the program says, and does not.
fn outdated(live: &Value, expected: &Value) -> bool {
    live["metadata"]["annotations"][KEPT] == "true" && live["spec"] != expected["spec"]
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
