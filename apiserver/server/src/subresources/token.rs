//! `serviceaccounts/token`: a token for a service account, bound to an object if asked.
//!
//! Follows `pkg/registry/core/serviceaccount/storage/token.go`.

use axum::body::Body;
use serde_json::{Value, json};
use skiff_api::{
    kinds::Kind,
    machinery::{meta::Meta, schema::Schema, status::Status, time},
};
use skiff_storage::Key;

use crate::{
    auth::authenticate::service_account::BoundTo,
    body,
    context::{Answer, Context},
    negotiate::{self, Offers},
    stored,
};

pub async fn serve(ctx: &Context, kind: &'static Kind, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::Plain)?;
    let text = body::read(body).await?;
    let node = Schema::builtin().get("authentication.v1.TokenRequest").ok_or_else(|| Status::internal("TokenRequest is not in the schema table"))?;
    let mut request = body::decode(ctx, &text, negotiate::body_type(&ctx.headers)?, ("authentication.k8s.io", "v1", "TokenRequest"), node)?;
    let name = ctx.info.name_in_path();
    let account = ctx.app.store.get(&stored::key_of(kind, &ctx.info.namespace, name)).ok_or_else(|| Status::not_found("", "serviceaccounts", name))?;
    let account = stored::decoded(kind, &account)?;
    if !request.name().is_empty() && request.name() != name {
        return Err(Status::bad_request(format!("metadata.name: Invalid value: {:?}: must match the service account name if specified", request.name())));
    }
    let bound = bound_object(ctx, &request["spec"]["boundObjectRef"])?;
    let issued = ctx.app.tokens.issue(&account, &request["spec"], bound, ctx.app.clock.now())?;
    let m = request.meta_mut();
    m.insert("name".into(), name.into());
    m.insert("namespace".into(), ctx.info.namespace.as_str().into());
    m.insert("creationTimestamp".into(), time::seconds(ctx.app.clock.now()).into());
    request["spec"] = issued.spec;
    request["status"] = json!({"token": issued.token, "expirationTimestamp": time::seconds(issued.expires)});
    ctx.value(201, &accept, &request)
}

fn bound_object(ctx: &Context, reference: &Value) -> Result<Option<BoundTo>, Status> {
    if !reference.is_object() {
        return Ok(None);
    }
    let text = |name: &str| reference[name].as_str().unwrap_or("");
    let resource = match (text("apiVersion"), text("kind")) {
        ("v1" | "", "Pod") => "pods",
        ("v1" | "", "Secret") => "secrets",
        ("v1" | "", "Node") => "nodes",
        (version, kind) => {
            let (group, _) = version.rsplit_once('/').unwrap_or(("", version));
            return Err(Status::bad_request(format!("cannot bind token for serviceaccount to object of type {kind}.{group}")));
        }
    };
    let namespace = if resource == "nodes" { "" } else { ctx.info.namespace.as_str() };
    let find = |resource: &str, namespace: &str, name: &str| {
        let key = Key { resource: resource.into(), namespace: namespace.into(), name: name.into() };
        ctx.app.store.get(&key).ok_or_else(|| Status::not_found("", resource, name))
    };
    let object = find(resource, namespace, text("name"))?;
    let uid = object.attributes().uid.to_string();
    if !text("uid").is_empty() && text("uid") != uid {
        let why = format!("the UID in the bound object reference ({}) does not match the UID in record. The object might have been deleted and then recreated", text("uid"));
        return Err(Status::conflict("", resource, text("name"), &why));
    }
    // a pod's token tells the node that it runs on, too
    let mut node = None;
    if resource == "pods" {
        let pod: Value = serde_json::from_slice(&object.bytes).unwrap_or_default();
        if let Some(name) = pod["spec"]["nodeName"].as_str().filter(|name| !name.is_empty()) {
            let uid = find("nodes", "", name).map(|node| node.attributes().uid.to_string()).unwrap_or_default();
            node = Some((name.to_string(), uid));
        }
    }
    Ok(Some(BoundTo { kind: text("kind").into(), name: text("name").into(), uid, node }))
}
