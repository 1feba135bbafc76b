//! PUT: an object replaced, whole or its part.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/update.go`.

use std::sync::Arc;

use axum::body::Body;
use serde_json::Value;
use skiff_api::{kinds::Kind, machinery::meta::Meta};

use crate::{
    body,
    context::{Answer, Context},
    negotiate::{self, Offers},
    respond,
    write::{self, Part, Update, managed},
};

pub async fn serve(ctx: &Context, kind: &Arc<Kind>, part: Part, body: Body) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    let media = negotiate::body_type(&ctx.headers)?;
    let text = body::read(body).await?;
    let call = ctx.call("UpdateOptions")?;
    let mut given = body::decode_kind(ctx, &text, media, kind)?;
    write::check_namespace(kind, &ctx.info.namespace, &mut given)?;
    body::check_name(ctx, &given)?;
    write::dedup_sent_owners(&call, &mut given);
    let name = given.name().to_string();
    let create = kind.flags.allow_create_on_update
        && matches!(part, Part::Whole)
        && given.resource_version().is_empty();
    let uid = Some(given.uid().to_string()).filter(|uid| !uid.is_empty());
    let how = Update {
        create,
        uid,
        ..Update::of(part)
    };
    let nothing = Value::Object(Default::default());
    let (written, created) =
        write::update(&call, kind, &ctx.info.namespace, &name, how, &mut |live| {
            let mut new = given.clone();
            managed::track_update(&call, kind, part, live.unwrap_or(&nothing), &mut new)?;
            Ok(new)
        })
        .await?;
    respond::written(ctx, &accept, kind, if created { 201 } else { 200 }, written).await
}
