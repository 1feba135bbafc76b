//! The object that a connection is about.

use std::sync::Arc;

use serde_json::Value;
use skiff_api::{kinds::Kind, machinery::status::Status};

use crate::{context::Context, stored};

/// A live object of a row. One that is absent is told of under the request's own resource, whatever its row: `pods "node-a" not found`, as upstream's
/// store does (`qualifiedResourceFromContext` in `registry/generic/registry/store.go`).
pub(super) fn live(
    ctx: &Context,
    kind: &Arc<Kind>,
    namespace: &str,
    name: &str,
) -> Result<Value, Status> {
    let absent = || Status::not_found(&ctx.info.group, &ctx.info.resource, name);
    let object = ctx
        .app
        .core
        .store
        .get(&stored::key_of(kind, namespace, name))
        .ok_or_else(absent)?;
    stored::decoded(kind, &object)
}
