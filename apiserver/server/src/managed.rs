//! Managed fields as the write path uses them: who owns what after an update or an apply.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/managedfields` and `.../endpoints/handlers/fieldmanager`.

use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Subresource},
    machinery::{
        managed_fields::{self, ResetFields, Versions},
        schema::Node,
        status::Status,
        time,
    },
};

use crate::{context::Context, write::Part};

/// The fields that a write of this part leaves alone, whoever sends them.
fn reset_fields(kind: &Kind, part: Part) -> ResetFields {
    match part {
        Part::Sub(Subresource::Status) => ResetFields::paths(kind.strategy.status_reset),
        _ if kind.strategy.has_status => ResetFields::paths(&["status"]),
        _ => ResetFields::default(),
    }
}

/// The versions at which the objects of a row can be seen.
struct Rows(&'static Kind);

impl Versions for Rows {
    fn at<'v>(&'v self, object: &Value, api_version: &str) -> Option<(Value, Node<'v>)> {
        let row = self.0.at_version(api_version)?;
        let mut other = object.clone();
        self.0.convert(&mut other, row);
        Some((other, row.node()))
    }
}

/// Notes the request's manager as the owner of what it changed between `live` and `new`.
pub fn track_update(ctx: &Context, kind: &'static Kind, part: Part, live: &Value, new: &mut Value) -> Result<(), Status> {
    track_update_as(ctx, &ctx.field_manager(), kind, part, live, new)
}

/// The same for another manager than the request's.
pub fn track_update_as(ctx: &Context, manager: &str, kind: &'static Kind, part: Part, live: &Value, new: &mut Value) -> Result<(), Status> {
    let now = time::seconds(ctx.app.clock.now());
    let rows = Rows(kind);
    let update = managed_fields::Update {
        manager,
        subresource: part.name(),
        api_version: &kind.api_version(),
        now: &now,
        schema: kind.node(),
        reset: &reset_fields(kind, part),
        versions: kind.has_other_versions().then_some(&rows as &dyn Versions),
    };
    managed_fields::track_update(live, new, &update).map_err(|error| Status::internal(error.to_string()))
}

/// Merges an applied configuration into the live object.
pub fn apply(ctx: &Context, kind: &'static Kind, part: Part, live: Option<&Value>, config: &Value) -> Result<Value, Status> {
    let now = time::seconds(ctx.app.clock.now());
    let rows = Rows(kind);
    let apply = managed_fields::Apply {
        manager: ctx.query.text("fieldManager"),
        force: ctx.query.flag("force"),
        subresource: part.name(),
        api_version: &kind.api_version(),
        now: &now,
        schema: kind.node(),
        reset: &reset_fields(kind, part),
        versions: kind.has_other_versions().then_some(&rows as &dyn Versions),
    };
    managed_fields::apply(live, config, &apply).map_err(|error| error.status())
}
