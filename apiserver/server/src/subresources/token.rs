//! `serviceaccounts/token`: a token for a service account, bound to an object if asked.
//!
//! Follows `pkg/registry/core/serviceaccount/storage/token.go`.

use std::sync::Arc;

use axum::body::Body;
use serde_json::json;
use skiff_api::{
    kinds::{Kind, fill::absent},
    machinery::{
        field::{Errors, Path},
        meta::{Meta, child_mut},
        read::Read,
        status::Status,
        time,
    },
};

use crate::{
    auth::authenticate::service_account::BoundTo,
    body,
    context::{Answer, Context},
    core::StoredObjects,
    negotiate::{self, Offers},
    stored,
    write::{self, managed},
};

const ASKED: (&str, &str, &str) = ("authentication.k8s.io", "v1", "TokenRequest");
/// How long a token is good for where nobody says, in seconds.
const HOUR: i64 = 3600;

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::PLAIN)?;
    let call = ctx.call("CreateOptions")?;
    let mut request = body::read_as(ctx, body, ASKED).await?;
    write::check_namespace(kind, &ctx.info.namespace, &mut request)?;
    let name = ctx.info.name_in_path();
    if !request.name().is_empty() && request.name() != name {
        let mut errors = Errors::default();
        let why = "must match the service account name if specified";
        errors.invalid(&Path::new("metadata").child("name"), request.name(), why);
        return Err(Status::invalid(
            "authentication.k8s.io",
            "TokenRequest",
            name,
            &errors,
        ));
    }
    let account = ctx
        .app
        .core
        .store
        .get(&stored::key_of(kind, &ctx.info.namespace, name))
        .ok_or_else(|| Status::not_found("", "serviceaccounts", name))?;
    let account = stored::decoded(kind, &account)?;
    let (asked, own) = (request.uid(), account.uid());
    if !asked.is_empty() && asked != own {
        let why = format!(
            "the UID in the token request ({asked}) does not match the UID of the service account ({own})"
        );
        let (group, _, kind) = ASKED;
        return Err(Status::conflict(group, kind, name, &why));
    }
    if request.is_object() {
        absent(child_mut(&mut request, "spec"), "expirationSeconds", HOUR);
    }
    managed::track_question(&call, "token", body::node_of(ASKED)?, &mut request)?;
    // who says what only the server says owns it nonetheless
    if let Some(all) = request.as_object_mut() {
        all.remove("status");
    }
    let at = (ctx.info.namespace.as_str(), name);
    let mut request = call.admit_subresource(kind, "token", at, request).await?;
    let objects = StoredObjects(ctx.app.core.store.clone());
    let bound = BoundTo::resolve(
        &objects,
        &ctx.info.namespace,
        name,
        request.at("spec").at("boundObjectRef"),
    )?;
    let issued = ctx.app.tokens.issue(
        &account,
        request.at("spec"),
        bound,
        ctx.app.core.clock.now(),
    )?;
    let m = request.meta_mut();
    m.insert("name".into(), name.into());
    m.insert("uid".into(), uuid::Uuid::new_v4().to_string().into());
    m.insert("namespace".into(), ctx.info.namespace.as_str().into());
    m.insert(
        "creationTimestamp".into(),
        time::seconds(ctx.app.core.clock.now()).into(),
    );
    request["spec"] = issued.spec;
    request["status"] =
        json!({"token": issued.token, "expirationTimestamp": time::seconds(issued.expires)});
    ctx.value(201, &accept, &request)
}
