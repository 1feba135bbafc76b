//! GET of one object.
//!
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/get.go`.

use std::sync::Arc;

use std::time::Duration;

use skiff_api::{
    kinds::{Kind, Source},
    machinery::status::Status,
};

use crate::{
    context::{Answer, Context},
    negotiate::{self, Offers},
    respond, stored,
};

pub async fn serve(ctx: &Context, kind: &Arc<Kind>) -> Answer {
    let accept = negotiate::accept(&ctx.headers, Offers::objects(kind))?;
    match kind.flags.source {
        Source::Components => {
            return crate::subresources::component_status::get(ctx, kind, &accept);
        }
        Source::Measured => return super::measured::get(ctx, kind, &accept),
        Source::Stored | Source::Answered(_) => {}
    }
    let version = ctx.query.text("resourceVersion");
    if !matches!(version, "" | "0") {
        let revision = respond::revision(version)?;
        let waited = ctx
            .app
            .core
            .store
            .wait_for(revision, Duration::from_secs(3))
            .await;
        waited.map_err(|_| respond::too_large_revision(revision, ctx.app.core.store.revision()))?;
    }
    let key = stored::named(kind, &ctx.info.namespace, &ctx.info.name)?;
    let object = ctx
        .app
        .core
        .store
        .get(&key)
        .ok_or_else(|| Status::not_found(kind.group, kind.plural, &ctx.info.name))?;
    respond::object(ctx, &accept, kind, 200, object).await
}
