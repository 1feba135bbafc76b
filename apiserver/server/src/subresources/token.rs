//! `serviceaccounts/token`: a token for a service account, bound to an object if asked.
//!
//! Follows `pkg/registry/core/serviceaccount/storage/token.go`.

use std::sync::Arc;

use axum::body::Body;
use serde_json::json;
use skiff_api::{
    kinds::Kind,
    machinery::{meta::Meta, schema::Schema, status::Status, time},
};

use crate::{
    admission::{self, Operation},
    app::StoredObjects,
    auth::authenticate::service_account::BoundTo,
    body,
    context::{Answer, Context},
    negotiate::{self, Offers},
    stored,
};

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::Plain)?;
    let text = body::read(body).await?;
    let node = Schema::builtin()
        .get("authentication.v1.TokenRequest")
        .ok_or_else(|| Status::internal("TokenRequest is not in the schema table"))?;
    let request = body::decode(
        ctx,
        &text,
        negotiate::body_type(&ctx.headers)?,
        ("authentication.k8s.io", "v1", "TokenRequest"),
        node,
    )?;
    let name = ctx.info.name_in_path();
    let account = ctx
        .app
        .store
        .get(&stored::key_of(kind, &ctx.info.namespace, name))
        .ok_or_else(|| Status::not_found("", "serviceaccounts", name))?;
    let account = stored::decoded(kind, &account)?;
    if !request.name().is_empty() && request.name() != name {
        return Err(Status::bad_request(format!(
            "metadata.name: Invalid value: {:?}: must match the service account name if specified",
            request.name()
        )));
    }
    let mut request = admission::subresource(ctx, kind, "token", Operation::Create, Some(request))
        .await?
        .unwrap_or_default();
    let objects = StoredObjects(ctx.app.store.clone());
    let bound = BoundTo::resolve(
        &objects,
        &ctx.info.namespace,
        name,
        &request["spec"]["boundObjectRef"],
    )?;
    let issued = ctx
        .app
        .tokens
        .issue(&account, &request["spec"], bound, ctx.app.clock.now())?;
    let m = request.meta_mut();
    m.insert("name".into(), name.into());
    m.insert("namespace".into(), ctx.info.namespace.as_str().into());
    m.insert(
        "creationTimestamp".into(),
        time::seconds(ctx.app.clock.now()).into(),
    );
    request["spec"] = issued.spec;
    request["status"] =
        json!({"token": issued.token, "expirationTimestamp": time::seconds(issued.expires)});
    ctx.value(201, &accept, &request)
}
