//! Subresources that lead to something else than the store: `log`, `exec`, `attach`, `portforward` of pods, `proxy` of pods, services and nodes.
//!
//! Invariant: the server authorizes, the node or the pod serves. Where a request goes is an address and a port that were parsed and checked,
//! never text; what proved who asks goes no further than here; the server shows its own certificate to a node's own API alone.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/rest.go` (ConnectResource) and `pkg/registry/core/{pod,service,node}/rest`.

mod admitted;
mod forward;
mod html;
mod live;
mod log;
mod node;
pub mod onward;
mod proxy;
mod rewrite;
mod streams;
pub mod upgrade;

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, request::Parts};
use skiff_api::{
    kinds::{Kind, Subresource},
    machinery::status::Status,
};

use crate::context::{Answer, Context};

pub use forward::clean;
pub use onward::Peer;
pub use proxy::unreachable;
pub use upgrade::serve as upgrade;

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
    if sub != Subresource::Log {
        admitted::ask(ctx, kind, sub).await?;
    }
    match sub {
        Subresource::Log => log::serve(ctx, kind, parts).await,
        Subresource::Proxy(proxied) => {
            let location = proxy::location(ctx, kind, proxied).await?;
            forward::serve(ctx, location, parts, body).await
        }
        _ => {
            let location = streams::location(ctx, kind, sub).await?;
            self::upgrade::serve(ctx, &location, &mut parts, &HeaderMap::new())
                .await?
                .ok_or_else(|| Status::bad_request("Upgrade request required"))
        }
    }
}
