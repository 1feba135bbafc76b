//! What made an object, and what stands between it and its pods.
//! Invariant: each is told of once; what is gone, or may not be looked at, is left out.
//! Behaviour follows nothing upstream: kubectl does not do this.

use serde_json::{Value, json};

use crate::client::Call;
use crate::context::Ctx;
use crate::discovery::Resource;
use crate::error::{Error, Result};
use crate::resource::{Info, helper};
use crate::typed::Read;

/// So many owners one above the other are looked at.
const DEPTH: usize = 5;

/// The objects that an object belongs to, the nearest first, and those that it made to make its pods.
///
/// # Errors
/// What the server refuses otherwise than because it is not there or not to be seen.
pub async fn of(ctx: &Ctx, info: &Info) -> Result<Vec<Value>> {
    let mut all: Vec<Value> = Vec::new();
    let mut object = info.object.clone();
    while all.len() < DEPTH
        && let Some(owner) = owner(ctx, &info.namespace, &object).await?
    {
        all.push(owner.clone());
        object = owner;
    }
    all.extend(made(ctx, info).await?);
    Ok(all)
}

/// What cannot be seen is none.
fn seen<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(why) if matches!(why.reason(), "NotFound" | "Forbidden") => Ok(None),
        Err(why) => Err(why),
    }
}

/// The object that controls another one.
async fn owner(ctx: &Ctx, namespace: &str, object: &Value) -> Result<Option<Value>> {
    let owners = object.at("metadata").list("ownerReferences");
    let Some(reference) = owners.iter().find(|owner| owner.flag("controller")) else {
        return Ok(None);
    };
    let (version, kind) = (reference.text("apiVersion"), reference.text("kind"));
    let resource = match ctx.discovery()?.of_kind(version, kind).await {
        Ok(resource) => resource,
        // a kind that is not served any more
        Err(Error::Message(_)) => return Ok(None),
        Err(why) => return Err(why),
    };
    let namespace = if resource.namespaced { namespace } else { "" };
    let name = reference.text("name");
    let found = seen(helper::get(ctx.client()?, &resource, namespace, name).await)?;
    let same = |found: &Value| found.at("metadata").text("uid") == reference.text("uid");
    Ok(found.filter(same))
}

/// The ReplicaSets of a Deployment and the Jobs of a CronJob.
async fn made(ctx: &Ctx, info: &Info) -> Result<Vec<Value>> {
    let (group, plural, kind) = match info.resource.kind.as_str() {
        "Deployment" => ("apps", "replicasets", "ReplicaSet"),
        "CronJob" => ("batch", "jobs", "Job"),
        _ => return Ok(Vec::new()),
    };
    let resource: Resource = crate::generate::kind(group, "v1", plural, kind, true);
    let call = Call::get(resource.collection(Some(&info.namespace)));
    let Some(list) = seen(ctx.client()?.json(&call).await)? else {
        return Ok(Vec::new());
    };
    let uid = info.object.at("metadata").text("uid");
    let belongs = |item: &&Value| {
        let owners = item.at("metadata").list("ownerReferences");
        owners.iter().any(|owner| owner.text("uid") == uid)
    };
    let mut items: Vec<Value> = list.list("items").iter().filter(belongs).cloned().collect();
    for item in &mut items {
        (item["apiVersion"], item["kind"]) = (json!(resource.api_version()), json!(kind));
    }
    Ok(items)
}
