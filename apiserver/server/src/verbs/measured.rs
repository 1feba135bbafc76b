//! GET of what nodes and pods use: of one, and of all that are selected.
//!
//! Invariant: who is shown are the nodes and pods that there are now; those of which nothing is known are left out of lists, and are not found alone.
//! Follows `pkg/api/{node,pod,filter}.go` of sigs.k8s.io/metrics-server.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::{Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{
        gonum,
        quantity::{Format, Quantity},
        status::Status,
        time,
    },
};
use skiff_storage::{Key, Object};

use super::selection::Selection;
use crate::{
    context::{Answer, Context},
    measured::{Measured, Usage},
    negotiate::Accept,
    respond,
};

fn measured(ctx: &Context) -> Result<&Measured, Status> {
    let measured = ctx.app.measured.as_deref();
    measured.ok_or_else(|| Status::internal_plain("nothing is measured"))
}

/// Nodes and pods have the same plural names in the two groups.
fn resource(kind: &Kind) -> &'static str {
    kind.plural
}

pub fn get(ctx: &Context, kind: &Arc<Kind>, accept: &Accept) -> Answer {
    let (namespace, name) = (&ctx.info.namespace, &ctx.info.name);
    let key = Key {
        resource: resource(kind).into(),
        namespace: if kind.namespaced {
            namespace.as_str()
        } else {
            ""
        }
        .into(),
        name: name.as_str().into(),
    };
    let found = ctx.app.core.store.get(&key);
    let object = found.ok_or_else(|| Status::not_found("", resource(kind), name))?;
    let Some(value) = shown(ctx, kind, &object)? else {
        let what = kind.kind.to_lowercase();
        let name = match kind.namespaced {
            true => format!("{namespace}/{name}"),
            false => name.clone(),
        };
        return Err(Status::not_found(kind.group, &what, &name));
    };
    respond::value(ctx, accept, kind, 200, value)
}

pub fn list(ctx: &Context, kind: &Arc<Kind>, accept: &Accept) -> Answer {
    let selection = Selection::of(ctx, kind)?;
    let namespace = Some(ctx.info.namespace.as_str());
    let namespace = namespace.filter(|namespace| kind.namespaced && !namespace.is_empty());
    let snapshot = ctx.app.core.store.snapshot(resource(kind));
    let selected = snapshot
        .range(namespace, None)
        .filter(|object| selection.matches(object));
    let values = selected.filter_map(|object| shown(ctx, kind, &object).transpose());
    respond::list(ctx, accept, kind, json!({}), values.collect())
}

/// What is known of a node or a pod.
fn shown(ctx: &Context, kind: &Kind, object: &Object) -> Result<Option<Value>, Status> {
    let measured = measured(ctx)?;
    let (namespace, name) = (&object.key.namespace, &object.key.name);
    let (usage, fields) = if kind.namespaced {
        let node = object.attributes().field("spec.nodeName").unwrap_or("");
        let pods = measured.pods();
        let of = ((**namespace).into(), (**name).into());
        let Some(used) = pods.of(node, &of) else {
            return Ok(None);
        };
        let Some((_, earliest)) = used.iter().min_by_key(|(_, usage)| usage.at) else {
            return Ok(None);
        };
        let containers = used
            .iter()
            .map(|(name, usage)| json!({"name": name, "usage": amounts(usage)}));
        (
            *earliest,
            json!({"containers": containers.collect::<Vec<_>>()}),
        )
    } else {
        let Some(usage) = measured.node(name) else {
            return Ok(None);
        };
        (usage, json!({"usage": amounts(&usage)}))
    };
    let mut value = json!({
        "kind": kind.kind,
        "apiVersion": kind.api_version(),
        "metadata": metadata(ctx, object),
        "timestamp": time::seconds(usage.at),
        "window": gonum::duration_text(i64::try_from(usage.window.as_nanos()).unwrap_or(i64::MAX)),
    });
    if let (Some(value), Value::Object(fields)) = (value.as_object_mut(), fields) {
        value.extend(fields);
    }
    Ok(Some(value))
}

/// What of an object goes along: its name, its labels, and that this was made just now.
fn metadata(ctx: &Context, object: &Object) -> Value {
    let mut metadata =
        json!({"name": &*object.key.name, "creationTimestamp": time::seconds(ctx.app.core.now())});
    if !object.key.namespace.is_empty() {
        metadata["namespace"] = (*object.key.namespace).into();
    }
    let labels: BTreeMap<&str, &str> = object.attributes().labels().collect();
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    metadata
}

fn amounts(usage: &Usage) -> Value {
    let whole = |amount: u64| i64::try_from(amount).unwrap_or(i64::MAX);
    let cpu = Quantity::from_scaled(whole(usage.cpu), -9, Format::DecimalSi);
    let memory = Quantity::from_i64(whole(usage.memory), Format::BinarySi);
    json!({"cpu": cpu.to_string(), "memory": memory.to_string()})
}
