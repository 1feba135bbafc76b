//! `pods/eviction`: a deletion that disruption budgets may refuse.
//!
//! Follows `pkg/registry/core/pod/storage/eviction.go`.

use axum::body::Body;
use serde_json::{Value, json};
use skiff_api::{
    kinds::{self, Kind},
    machinery::{
        meta::Meta,
        schema::Schema,
        selector::Selector,
        status::{Cause, Details, Status},
        time,
    },
};

use crate::{
    admission::{self, Operation},
    body,
    context::{Answer, Context},
    negotiate::{self, Offers},
    stored, verbs,
    write::{self, Part, Update},
};

pub async fn serve(ctx: &Context, kind: &'static Kind, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::Plain)?;
    let text = body::read(body).await?;
    let node = Schema::builtin().get("policy.v1.Eviction").ok_or_else(|| Status::internal("Eviction is not in the schema table"))?;
    let eviction = body::decode(ctx, &text, negotiate::body_type(&ctx.headers)?, ("policy", "v1", "Eviction"), node)?;
    let name = ctx.info.name_in_path();
    if eviction.name() != name {
        return Err(Status::bad_request("name in URL does not match name in Eviction object"));
    }
    let pod = ctx.app.store.get(&stored::key_of(kind, &ctx.info.namespace, name)).ok_or_else(|| Status::not_found("", "pods", name))?;
    let pod = stored::decoded(kind, &pod)?;
    let eviction = admission::subresource(ctx, kind, "eviction", Operation::Create, Some(eviction)).await?.unwrap_or_default();
    let options = verbs::DeleteOptions::from_value(&eviction["deleteOptions"])?;
    if needs_budget(&pod) && !options.dry_run() {
        ask_budgets(ctx, &pod).await?;
    }
    verbs::delete_object(ctx, kind, &ctx.info.namespace, name, &options).await?;
    ctx.value(201, &accept, &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
}

/// Pods that have ended, wait to start or are going already cost no budget anything.
fn needs_budget(pod: &Value) -> bool {
    !pod.is_deleting() && !matches!(pod["status"]["phase"].as_str(), Some("Succeeded" | "Failed" | "Pending"))
}

async fn ask_budgets(ctx: &Context, pod: &Value) -> Result<(), Status> {
    let row = kinds::find("policy", "v1", "poddisruptionbudgets").ok_or_else(Status::no_such_path)?;
    let labels = &pod["metadata"]["labels"];
    let snapshot = ctx.app.store.snapshot("poddisruptionbudgets.policy");
    let mut matching = Vec::new();
    for object in snapshot.range(Some(pod.namespace()), None) {
        let budget = stored::decoded(row, &object)?;
        let selector = Selector::from_label_selector(budget["spec"].get("selector")).map_err(Status::internal)?;
        if selector.matches(labels) {
            matching.push(budget);
        }
    }
    match matching.as_slice() {
        [] => Ok(()),
        [budget] => take(ctx, row, budget.name(), pod).await,
        _ => Err(Status::internal_plain("This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.")),
    }
}

/// Takes one disruption from the budget, or is refused.
async fn take(ctx: &Context, row: &'static Kind, budget: &str, pod: &Value) -> Result<(), Status> {
    let sub = row.subresource("status").ok_or_else(Status::no_such_path)?;
    let name = pod.name().to_string();
    let now = time::seconds(ctx.app.clock.now());
    write::update(ctx, row, pod.namespace(), budget, Update::of(Part::Sub(sub)), &mut |live| {
        let live = live.unwrap_or(&Value::Null);
        let status = &live["status"];
        if status["observedGeneration"].as_i64().unwrap_or(0) < live.generation() {
            let mut refusal = Status::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 10);
            let message = format!("The disruption budget {budget} is still being processed by the server.");
            refusal.details = Some(Details {
                causes: vec![Cause { reason: "DisruptionBudget".into(), message, ..Cause::default() }],
                retry_after_seconds: 10,
                ..Details::default()
            });
            return Err(refusal);
        }
        let allowed = status["disruptionsAllowed"].as_i64().unwrap_or(0);
        if allowed <= 0 {
            let mut refusal = Status::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 0);
            let message = format!(
                "The disruption budget {budget} needs {} healthy pods and has {} currently",
                status["desiredHealthy"].as_i64().unwrap_or(0),
                status["currentHealthy"].as_i64().unwrap_or(0)
            );
            refusal.details = Some(Details { causes: vec![Cause { reason: "DisruptionBudget".into(), message, ..Cause::default() }], ..Details::default() });
            return Err(refusal);
        }
        let mut new = live.clone();
        new["status"]["disruptionsAllowed"] = (allowed - 1).into();
        new["status"]["disruptedPods"][name.as_str()] = now.as_str().into();
        Ok(new)
    })
    .await
    .map(|_| ())
}
