//! `componentstatuses`: what old clients ask for the health of the control plane's parts, which are one process here.
//!
//! Follows `pkg/registry/core/componentstatus/rest.go`.

use std::sync::Arc;

use serde_json::{Value, json};
use skiff_api::{kinds::Kind, machinery::status::Status};

use crate::{
    context::{Answer, Context},
    negotiate::Accept,
    respond,
};

const COMPONENTS: [&str; 3] = ["scheduler", "controller-manager", "etcd-0"];

fn component(name: &str) -> Value {
    json!({"metadata": {"name": name}, "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]})
}

pub fn get(ctx: &Context, kind: &Arc<Kind>, accept: &Accept) -> Answer {
    let name = ctx.info.name_in_path();
    if !COMPONENTS.contains(&name) {
        return Err(Status::not_found("", "componentstatus", name));
    }
    let mut value = component(name);
    value["kind"] = kind.kind.into();
    value["apiVersion"] = kind.api_version().into();
    respond::value(ctx, accept, kind, 200, value)
}

/// Those that are `selected` by their labels, of which they have none, and their names.
pub fn list(
    ctx: &Context,
    kind: &Arc<Kind>,
    accept: &Accept,
    selected: impl Fn(&str) -> bool,
) -> Answer {
    let names = COMPONENTS.iter().filter(|name| selected(name));
    let items = names.map(|name| component(name)).collect();
    respond::list(ctx, accept, kind, json!({}), Ok(items))
}
