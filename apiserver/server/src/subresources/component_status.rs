//! `componentstatuses`: what old clients ask for the health of the control plane's parts, which are one process here.
//!
//! Follows `pkg/registry/core/componentstatus/rest.go`.

use serde_json::{Value, json};
use skiff_api::machinery::status::Status;

use crate::{
    context::{Answer, Context},
    negotiate::Accept,
};

const COMPONENTS: [&str; 3] = ["scheduler", "controller-manager", "etcd-0"];

fn component(name: &str) -> Value {
    json!({"metadata": {"name": name}, "conditions": [{"type": "Healthy", "status": "True", "message": "ok"}]})
}

pub fn get(ctx: &Context, accept: &Accept) -> Answer {
    let name = ctx.info.name_in_path();
    if !COMPONENTS.contains(&name) {
        return Err(Status::not_found("", "componentstatus", name));
    }
    let mut value = component(name);
    value["kind"] = "ComponentStatus".into();
    value["apiVersion"] = "v1".into();
    ctx.value(200, accept, &value)
}

pub fn list(ctx: &Context, accept: &Accept) -> Answer {
    let items: Vec<Value> = COMPONENTS.iter().map(|name| component(name)).collect();
    ctx.value(
        200,
        accept,
        &json!({"kind": "ComponentStatusList", "apiVersion": "v1", "metadata": {}, "items": items}),
    )
}
