//! `pods/eviction`: a deletion that disruption budgets may refuse.
//!
//! Invariant: a healthy pod goes only when the one budget that matches it has a disruption left, which is taken first; what a pod is judged by is
//! what it is when it goes.
//! Follows `pkg/registry/core/pod/storage/eviction.go`.

use std::sync::Arc;

use axum::body::Body;
use serde_json::{Map, Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        meta::{Meta, child_mut},
        read::Read,
        selector::Selector,
        status::{Cause, Details, Status},
        time,
    },
};

use crate::{
    body,
    context::{Answer, Context},
    negotiate::{self, Offers},
    stored,
    write::{self, Call, DeleteOptions, Part, Update, Written, managed},
};

/// How often what others changed meanwhile is looked at again.
const TRIES: usize = 20;
/// So many evictions may be under way that the budget's controller has not seen yet.
const MAX_DISRUPTED_PODS: usize = 2000;
/// Under whose name upstream writes budgets: its own.
const MANAGER: &str = "kube-apiserver";
const BUDGETS: &str = "poddisruptionbudgets.policy";

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::PLAIN)?;
    let call = ctx.call("CreateOptions")?;
    let expected = ("policy", "v1", "Eviction");
    let mut eviction = body::read_as_any(ctx, body, expected, &["policy/v1beta1"]).await?;
    write::check_namespace(kind, &ctx.info.namespace, &mut eviction)?;
    let name = ctx.info.name_in_path();
    if eviction.name() != name {
        return Err(Status::bad_request(
            "name in URL does not match name in Eviction object",
        ));
    }
    if eviction
        .at("deleteOptions")
        .flag("ignoreStoreReadErrorWithClusterBreakingPotential")
    {
        let mut errors = Errors::default();
        let path = Path::new("deleteOptions");
        errors.invalid(
            &path.child("ignoreStoreReadErrorWithClusterBreakingPotential"),
            true,
            "can not be set for pod eviction, try after removing the option",
        );
        return Err(Status::invalid("policy", "Eviction", name, &errors));
    }
    let options = dry_run(ctx, &eviction)?;
    let at = (ctx.info.namespace.as_str(), name);
    call.admit_subresource(kind, "eviction", at, eviction)
        .await?;
    // the deletion is a part of what was admitted
    evict(&call.admitted(), kind, at, &options).await?;
    ctx.value(201, &accept, &json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}))
}

/// The deletion's options; a dry run may be asked for by the request as well as by what it holds.
fn dry_run(ctx: &Context, eviction: &Value) -> Result<DeleteOptions, Status> {
    let mut options = eviction
        .get("deleteOptions")
        .cloned()
        .unwrap_or_else(|| json!({}));
    let asked: Vec<&str> = ctx.query.all("dryRun").collect();
    let held: Vec<&str> = options
        .list("dryRun")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    if held.is_empty() && !asked.is_empty() {
        options["dryRun"] = asked.into();
    } else if !asked.is_empty() && asked != held {
        let why = format!(
            "Non-matching dry-run options in request and content: [{}] and [{}]",
            asked.join(" "),
            held.join(" ")
        );
        return Err(Status::internal_plain(why));
    }
    DeleteOptions::from_value(&options)
}

async fn evict(
    call: &Call<'_>,
    kind: &Arc<Kind>,
    at: (&str, &str),
    options: &DeleteOptions,
) -> Result<(), Status> {
    let mut tries = TRIES;
    let pod = loop {
        tries -= 1;
        let pod = call
            .store()
            .get(&stored::key_of(kind, at.0, at.1))
            .ok_or_else(|| Status::not_found("", "pods", at.1))?;
        let pod = stored::decoded(kind, &pod)?;
        if needs_budget(&pod) {
            break pod;
        }
        // what waits to start may become healthy before it goes
        let waits = !pod.is_deleting() && pod.at("status").text("phase") == "Pending";
        let pinned = options.pinned(
            Some(pod.resource_version()).filter(|_| waits && options.resource_version().is_none()),
        );
        match mark_and_delete(call, kind, at, &pinned).await {
            Err(status)
                if status.reason == "Conflict"
                    && options.resource_version().is_none()
                    && tries > 0 => {}
            done => return done,
        }
    };
    let Some((row, budget)) = budget_of(call, &pod)? else {
        return mark_and_delete(call, kind, at, options).await;
    };
    if spares(&budget, &pod) {
        // only as long as it is the pod that was judged
        return match mark_and_delete(
            call,
            kind,
            at,
            &options.pinned(Some(pod.resource_version())),
        )
        .await
        {
            Err(status) if status.reason == "Conflict" && options.resource_version().is_none() => {
                Err(still_processed(budget.name()))
            }
            done => done,
        };
    }
    take(call, row, budget.name(), &pod, options.dry_run()).await?;
    mark_and_delete(call, kind, at, options).await
}

/// Pods that have ended, wait to start or are going already cost no budget anything.
fn needs_budget(pod: &Value) -> bool {
    !pod.is_deleting()
        && !matches!(
            pod.at("status").text_ptr("phase"),
            Some("Succeeded" | "Failed" | "Pending")
        )
}

/// The budget costs nothing: the pod is not healthy, and may go by the budget's policy or because enough others are.
fn spares(budget: &Value, pod: &Value) -> bool {
    let is_ready =
        |condition: &Value| condition.text("type") == "Ready" && condition.text("status") == "True";
    if pod.at("status").list("conditions").iter().any(is_ready) {
        return false;
    }
    let count = |name: &str| budget["status"][name].as_i64().unwrap_or(0);
    budget.at("spec").text("unhealthyPodEvictionPolicy") == "AlwaysAllow"
        || count("desiredHealthy") > 0 && count("currentHealthy") >= count("desiredHealthy")
}

/// Tells in the pod's status why it goes, and deletes it.
async fn mark_and_delete(
    call: &Call<'_>,
    kind: &Arc<Kind>,
    at: (&str, &str),
    options: &DeleteOptions,
) -> Result<(), Status> {
    let (namespace, name) = at;
    if options.dry_run() {
        return write::delete(call, kind, namespace, name, options)
            .await
            .map(|_| ());
    }
    let now = time::seconds(call.now());
    let (written, _) = write::update(
        call,
        kind,
        namespace,
        name,
        Update::of(Part::of(kind, "status")?),
        &mut |live| {
            let live = live.unwrap_or(&Value::Null);
            write::preconditions(kind, name, &options.meant(), live)?;
            let mut new = live.clone();
            mark(&mut new, &now);
            Ok(new)
        },
    )
    .await?;
    // the deletion is of what was just written
    let version = match &written {
        Written::Stored(object) => object.revision.to_string(),
        Written::Unstored(_) => return Ok(()),
    };
    let options = options.pinned(
        options
            .resource_version()
            .is_some()
            .then_some(version.as_str()),
    );
    write::delete(call, kind, namespace, name, &options)
        .await
        .map(|_| ())
}

fn mark(pod: &mut Value, now: &str) {
    let condition = json!({"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI", "message": "Eviction API: evicting",
        "lastProbeTime": null, "lastTransitionTime": now});
    set_condition(child_mut(pod, "status"), condition);
}

/// Puts a condition in the place of the one of its type; as long as its status stays, so does the time since when.
fn set_condition(status: &mut Map<String, Value>, mut condition: Value) {
    let Some(conditions) = status
        .entry("conditions")
        .or_insert_with(|| json!([]))
        .as_array_mut()
    else {
        return;
    };
    match conditions
        .iter_mut()
        .find(|had| had.at("type") == condition.at("type"))
    {
        Some(had) => {
            if had.at("status") == condition.at("status") {
                condition["lastTransitionTime"] = had["lastTransitionTime"].take();
            }
            *had = condition;
        }
        None => conditions.push(condition),
    }
}

/// The budget that the pod falls under; there may be but one.
fn budget_of<'c>(call: &Call<'c>, pod: &Value) -> Result<Option<(&'c Arc<Kind>, Value)>, Status> {
    let row = call
        .kinds
        .stored(BUDGETS)
        .ok_or_else(Status::no_such_path)?;
    let labels = pod.at("metadata").at("labels");
    let snapshot = call.store().snapshot(BUDGETS);
    let mut matching = Vec::new();
    for object in snapshot.range(Some(pod.namespace()), None) {
        let budget = stored::decoded(row, &object)?;
        // a selector that is none selects no pod
        if Selector::from_label_selector(budget.at("spec").get("selector"))
            .is_ok_and(|selector| selector.matches(labels))
        {
            matching.push(budget);
        }
    }
    match matching.len() {
        0 => Ok(None),
        1 => Ok(matching.pop().map(|budget| (row, budget))),
        _ => Err(Status::internal_plain(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )),
    }
}

fn refused(cause: String, retry_after_seconds: i32) -> Status {
    let mut status = Status::too_many_requests(
        "Cannot evict pod as it would violate the pod's disruption budget.",
        retry_after_seconds,
    );
    let causes = vec![Cause {
        reason: "DisruptionBudget".into(),
        message: cause,
        ..Cause::default()
    }];
    status.details = Some(Details {
        causes,
        retry_after_seconds,
        ..Details::default()
    });
    status
}

fn still_processed(budget: &str) -> Status {
    refused(
        format!("The disruption budget {budget} is still being processed by the server."),
        10,
    )
}

/// Why a budget has no disruption left.
fn exhausted(budget: &Value) -> String {
    let (name, status) = (budget.name(), budget.at("status"));
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let allowed = status
        .list("conditions")
        .iter()
        .find(|condition| condition.text("type") == "DisruptionAllowed");
    let denied = allowed.filter(|condition| {
        condition.text("status") == "False"
            && condition
                .text_ptr("message")
                .is_some_and(|text| !text.is_empty())
    });
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap_or("").to_string();
    match denied {
        // what the controller failed to see is not to be trusted
        Some(condition) if condition.text("reason") == "SyncFailed" => {
            format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {}",
                text(condition, "message")
            )
        }
        _ if count("currentHealthy") <= count("desiredHealthy") => {
            format!(
                "The disruption budget {name} needs {} healthy pods and has {} currently",
                count("desiredHealthy"),
                count("currentHealthy")
            )
        }
        Some(condition) => {
            format!(
                "The disruption budget {name} does not allow evicting pods currently ({}): {}",
                text(condition, "reason"),
                text(condition, "message")
            )
        }
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

/// Takes one disruption from the budget, or is refused.
async fn take(
    call: &Call<'_>,
    row: &Arc<Kind>,
    budget: &str,
    pod: &Value,
    dry: bool,
) -> Result<(), Status> {
    let now = time::seconds(call.now());
    if dry {
        let key = stored::key_of(row, pod.namespace(), budget);
        let object = call
            .store()
            .get(&key)
            .ok_or_else(|| Status::not_found(row.group, row.plural, budget))?;
        return taken(&stored::decoded(row, &object)?, pod, &now).map(|_| ());
    }
    let part = Part::of(row, "status")?;
    write::update(
        call,
        row,
        pod.namespace(),
        budget,
        Update::of(part),
        &mut |live| {
            let live = live.unwrap_or(&Value::Null);
            let mut new = taken(live, pod, &now)?;
            managed::track_update_as(call, MANAGER, row, part, live, &mut new)?;
            Ok(new)
        },
    )
    .await
    .map(|_| ())
}

/// The budget with one disruption less.
fn taken(budget: &Value, pod: &Value, now: &str) -> Result<Value, Status> {
    let status = budget.at("status");
    if status.int("observedGeneration") < budget.generation() {
        return Err(still_processed(budget.name()));
    }
    let forbidden =
        |why: &str| Status::forbidden("policy", "poddisruptionbudget", budget.name(), why);
    let allowed = status.int("disruptionsAllowed");
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    if status.map("disruptedPods").map_or(0, Map::len) > MAX_DISRUPTED_PODS {
        return Err(forbidden(
            "DisruptedPods map too big - too many evictions not confirmed by PDB controller",
        ));
    }
    if allowed == 0 {
        return Err(refused(exhausted(budget), 0));
    }
    let mut new = budget.clone();
    let observed = status.at("observedGeneration").clone();
    let status = child_mut(&mut new, "status");
    status.insert("disruptionsAllowed".into(), (allowed - 1).into());
    status.entry("disruptedPods").or_insert_with(|| json!({}))[pod.name()] = now.into();
    if allowed == 1 {
        let why = json!({"type": "DisruptionAllowed", "status": "False", "observedGeneration": observed, "lastTransitionTime": now, "reason": "InsufficientPods", "message": ""});
        set_condition(status, why);
    }
    Ok(new)
}
