//! POST: a new object.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/create.go`.

use std::sync::Arc;

use axum::body::Body;
use skiff_api::kinds::Kind;

use crate::{
    body,
    context::{Answer, Context},
    negotiate::{self, Offers},
    respond, write,
};

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    let media = negotiate::body_type(&ctx.headers)?;
    let text = body::read(body).await?;
    let call = ctx.call("CreateOptions")?;
    let value = body::decode_kind(ctx, &text, media, kind)?;
    let written = write::create(&call, kind, &ctx.info.namespace, value).await?;
    respond::written(ctx, &accept, kind, 201, written).await
}
