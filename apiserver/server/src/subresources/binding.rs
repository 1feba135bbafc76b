//! `pods/binding`: the scheduler's word on where a pod runs.
//!
//! Follows `pkg/registry/core/pod/storage/storage.go` (BindingREST).

use std::sync::Arc;

use axum::body::Body;
use serde_json::{Value, json};
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::{
    kinds::Kind,
    machinery::{
        field::{Errors, Path},
        meta::{Meta, child_mut},
        read::Read,
        status::Status,
        time,
    },
};

use crate::{
    admission::Operation,
    body,
    context::{Answer, Context},
    negotiate::{self, Accept, Offers},
    write::{self, Call, Part, Update},
};

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::PLAIN)?;
    let call = ctx.call("CreateOptions")?;
    let mut binding = body::read_as(ctx, body, ("", "v1", "Binding")).await?;
    write::check_namespace(kind, &ctx.info.namespace, &mut binding)?;
    let name = ctx.info.name_in_path();
    if binding.name() != name {
        return Err(Status::bad_request(
            "name in URL does not match name in Binding object",
        ));
    }
    let at = (ctx.info.namespace.as_str(), name);
    let mut attributes = call.attributes(kind, "binding", Operation::Create, at);
    attributes.object = Some(binding);
    call.admit(&mut attributes).await?;
    let binding = attributes.object.as_ref().unwrap_or(&Value::Null);
    validate(binding)?;
    call.check(&attributes).await?;
    assign(&call.admitted(), kind, at, binding).await?;
    ctx.value(201, &accept, &success())
}

/// POST to `bindings`, which was admitted: the pod is named in the body.
pub async fn legacy(ctx: &Context, call: &Call<'_>, accept: &Accept, binding: Value) -> Answer {
    let kind = ctx.kinds.stored("pods").ok_or_else(Status::no_such_path)?;
    validate(&binding)?;
    let at = (ctx.info.namespace.as_str(), binding.name());
    assign(&call.admitted(), kind, at, &binding).await?;
    ctx.value(201, accept, &success())
}

fn success() -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201})
}

async fn assign(
    call: &Call<'_>,
    kind: &Arc<Kind>,
    (namespace, name): (&str, &str),
    binding: &Value,
) -> Result<(), Status> {
    let target = binding.at("target").text("name").to_string();
    let uid = Some(binding.uid().to_string()).filter(|uid| !uid.is_empty());
    let version = Some(binding.resource_version().to_string());
    let how = Update {
        uid,
        resource_version: version.filter(|version| !version.is_empty()),
        ..Update::of(Part::of(kind, "binding")?)
    };
    write::update(call, kind, namespace, name, how, &mut |live| {
        bind(call, live.unwrap_or(&Value::Null), binding, &target)
    })
    .await?;
    Ok(())
}

fn validate(binding: &Value) -> Result<(), Status> {
    let mut errors = Errors::default();
    let target = Path::new("target");
    let kind = binding.at("target").text("kind");
    if !matches!(kind, "" | "Node") {
        errors.not_supported_in_order(&target.child("kind"), kind, &["Node", "<empty>"]);
    }
    if binding.at("target").text("name").is_empty() {
        errors.required(&target.child("name"), "");
    }
    if errors.is_empty() {
        Ok(())
    } else {
        Err(Status::internal_plain(errors.message()))
    }
}

fn bind(call: &Call<'_>, live: &Value, binding: &Value, target: &str) -> Result<Value, Status> {
    let name = live.name();
    let conflict = |why: String| Err(Status::conflict("", "pods/binding", name, &why));
    if live.is_deleting() {
        return conflict(format!(
            "pod {name} is being deleted, cannot be assigned to a host"
        ));
    }
    let bound = live.at("spec").text("nodeName");
    if !bound.is_empty() {
        return conflict(format!(
            "pod {name} is already assigned to node {bound}",
            bound = GoQuoted(&bound)
        ));
    }
    if !live.at("spec").list("schedulingGates").is_empty() {
        return conflict(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    // whose doing it was is not noted, as upstream does not
    Ok(assigned(live, binding, target, &time::seconds(call.now())))
}

/// The pod as it is on its node.
fn assigned(live: &Value, binding: &Value, target: &str, now: &str) -> Value {
    let mut new = live.clone();
    new.set_meta("resourceVersion", "");
    new["spec"]["nodeName"] = target.into();
    if let Some(status) = new["status"].as_object_mut() {
        // what it was promised is of no use any more
        status.remove("nominatedNodeName");
    }
    for field in ["annotations", "labels"] {
        for (key, value) in binding["metadata"][field].as_object().into_iter().flatten() {
            child_mut(&mut new["metadata"], field).insert(key.clone(), value.clone());
        }
    }
    let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": now});
    let conditions = new["status"]
        .as_object_mut()
        .map(|status| status.entry("conditions").or_insert_with(|| json!([])));
    if let Some(list) = conditions.and_then(Value::as_array_mut) {
        match list.iter_mut().find(|c| c.text("type") == "PodScheduled") {
            Some(had) if had.text("status") == "True" => {}
            Some(had) => *had = scheduled,
            None => list.push(scheduled),
        }
    }
    new
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_binding_writes() {
        let live = json!({"metadata": {"name": "p", "resourceVersion": "7"}, "spec": {}, "status": {"phase": "Pending", "nominatedNodeName": "n",
            "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}});
        let binding = json!({"metadata": {"annotations": {"a": "b"}, "labels": {"c": "d"}}, "target": {"name": "n"}});
        let found = assigned(&live, &binding, "n", "2026-01-02T03:04:05Z");
        let scheduled = json!({"type": "PodScheduled", "status": "True", "lastProbeTime": null, "lastTransitionTime": "2026-01-02T03:04:05Z"});
        assert_eq!(found["spec"], json!({"nodeName": "n"}));
        assert_eq!(
            found["status"],
            json!({"phase": "Pending", "conditions": [scheduled]})
        );
        assert_eq!(
            (
                &found["metadata"]["annotations"],
                &found["metadata"]["labels"]
            ),
            (&json!({"a": "b"}), &json!({"c": "d"}))
        );
    }
}
