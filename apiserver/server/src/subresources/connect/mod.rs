//! Subresources that lead to something else than the store: `log`, `exec`, `attach`, `portforward` of pods, `proxy` of pods, services and nodes.
//!
//! Invariant: the server authorizes, the node or the pod serves. Where a request goes is an address and a port that were parsed and checked,
//! never text; what proved who asks goes no further than here; the server shows its own certificate to a node's own API alone.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/rest.go` (ConnectResource) and `pkg/registry/core/{pod,service,node}/rest`.

mod dial;
mod forward;
mod html;
mod location;
mod log;
mod node;
mod proxy;
mod rewrite;
mod streams;
mod upgrade;

use std::sync::Arc;

use axum::body::Body;
use http::request::Parts;
use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Subresource},
    machinery::status::Status,
};

use crate::{
    context::{Answer, Context},
    stored,
};

pub use dial::{Behind, Transports};
pub use forward::Peer;

pub async fn serve(
    ctx: &Context,
    kind: &Arc<Kind>,
    sub: Subresource,
    mut parts: Parts,
    body: Body,
) -> Answer {
    if ctx.query.get("dryRun").is_some() {
        return Err(Status::bad_request("dryRun is not supported"));
    }
    match sub {
        Subresource::Log => log::serve(ctx, kind, parts).await,
        Subresource::Proxy(_) => {
            let location = proxy::location(ctx, kind).await?;
            forward::serve(ctx, location, parts, body).await
        }
        _ => {
            let location = streams::location(ctx, kind, sub)?;
            upgrade::serve(ctx, &location, &mut parts)
                .await?
                .ok_or_else(|| Status::bad_request("Upgrade request required"))
        }
    }
}

/// A live object of a row. One that is absent is told of under the request's own resource, whatever its row: `pods "node-a" not found`, as upstream's
/// store does (`qualifiedResourceFromContext` in `registry/generic/registry/store.go`).
fn live(ctx: &Context, kind: &Arc<Kind>, namespace: &str, name: &str) -> Result<Value, Status> {
    let absent = || Status::not_found(&ctx.info.group, &ctx.info.resource, name);
    let object = ctx
        .app
        .store
        .get(&stored::key_of(kind, namespace, name))
        .ok_or_else(absent)?;
    stored::decoded(kind, &object)
}
