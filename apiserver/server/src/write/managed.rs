//! Managed fields as the write path uses them: who owns what after an update or an apply.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/managedfields` and `.../endpoints/handlers/fieldmanager`.

use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Registry, Subresource},
    machinery::{
        managed_fields::{self, ResetFields, ScaleHandler, Versions},
        read::Read,
        schema::Node,
        status::Status,
        time,
    },
};

use super::call::{Call, Part};

/// The fields that a write of this part leaves alone, whoever sends them.
fn reset_fields(kind: &Kind, part: Part) -> ResetFields {
    match part {
        Part::Sub(Subresource::Status) => ResetFields::paths(&kind.flags.status_reset),
        Part::Sub(sub)
            if let Some(reset) = kind.strategy.part(sub.name()).and_then(|part| part.reset) =>
        {
            ResetFields::paths(reset)
        }
        _ if kind.has_status() => ResetFields::paths(&kind.flags.main_reset),
        _ => ResetFields::default(),
    }
}

/// The versions at which the objects of a row can be seen.
struct Rows<'a>(&'a Registry, &'a Kind);

impl Versions for Rows<'_> {
    fn at<'v>(&'v self, object: &Value, api_version: &str) -> Option<(Value, Node<'v>)> {
        let row = self.0.at_version(self.1, api_version)?;
        let mut other = object.clone();
        self.1.convert(&mut other, row);
        Some((other, row.node()))
    }
}

/// Notes the request's manager as the owner of what it changed between `live` and `new`.
pub fn track_update(
    call: &Call<'_>,
    kind: &Kind,
    part: Part,
    live: &Value,
    new: &mut Value,
) -> Result<(), Status> {
    track_update_as(call, &call.options.field_manager, kind, part, live, new)
}

/// The same for another manager than the request's.
pub fn track_update_as(
    call: &Call<'_>,
    manager: &str,
    kind: &Kind,
    part: Part,
    live: &Value,
    new: &mut Value,
) -> Result<(), Status> {
    let now = time::seconds(call.now());
    let rows = Rows(call.kinds, kind);
    let update = managed_fields::Update {
        manager,
        subresource: part.name(),
        api_version: &kind.api_version(),
        now: &now,
        schema: kind.node(),
        reset: &reset_fields(kind, part),
        versions: call
            .kinds
            .has_other_versions(kind)
            .then_some(&rows as &dyn Versions),
    };
    managed_fields::track_update(live, new, &update)
        .map_err(|error| Status::internal(error.to_string()))
}

/// `Scale` has managed fields of its own, which are made of those of its object and go back there.
struct OfScale<'a> {
    handler: ScaleHandler<'a>,
    live: Value,
    now: String,
}

const SCALE: &str = "autoscaling/v1";

impl<'a> OfScale<'a> {
    fn of(
        call: &Call<'_>,
        api_version: &'a str,
        replicas: &'a str,
        parent: &Value,
        scale: &Value,
    ) -> Result<OfScale<'a>, Status> {
        let handler = ScaleHandler::new(api_version, replicas);
        let mut live = scale.clone();
        handler
            .to_subresource(parent, &mut live)
            .map_err(|error| Status::internal(error.to_string()))?;
        Ok(OfScale {
            handler,
            live,
            now: time::seconds(call.now()),
        })
    }

    fn back(&self, parent: &mut Value, scale: &Value) -> Result<(), Status> {
        self.handler
            .to_parent(parent, scale)
            .map_err(|error| Status::internal(error.to_string()))
    }
}

/// The path of the replicas and the versions, which writes of a scale need.
pub struct ScaleOf<'a> {
    pub kind: &'a Kind,
    pub replicas: &'a str,
    pub node: Node<'a>,
}

/// Notes in `parent` who owns its replicas after the `scale` of it was replaced by `wanted`.
pub fn track_scale(
    call: &Call<'_>,
    of: &ScaleOf<'_>,
    scale: &Value,
    wanted: &Value,
    parent: &mut Value,
) -> Result<(), Status> {
    let api_version = of.kind.api_version();
    let fields = OfScale::of(call, &api_version, of.replicas, parent, scale)?;
    let mut wanted = wanted.clone();
    if let Some(metadata) = fields.live.at("metadata").get("managedFields") {
        wanted["metadata"]["managedFields"] = metadata.clone();
    }
    let reset = ResetFields::default();
    let update = managed_fields::Update {
        manager: &call.options.field_manager,
        subresource: "scale",
        api_version: SCALE,
        now: &fields.now,
        schema: of.node,
        reset: &reset,
        versions: None,
    };
    managed_fields::track_update(&fields.live, &mut wanted, &update)
        .map_err(|error| Status::internal(error.to_string()))?;
    fields.back(parent, &wanted)
}

/// Merges an applied configuration into the `scale` of `parent`, and notes there who owns its replicas.
pub fn apply_scale(
    call: &Call<'_>,
    of: &ScaleOf<'_>,
    scale: &Value,
    config: &Value,
    parent: &mut Value,
) -> Result<Value, Status> {
    let api_version = of.kind.api_version();
    let fields = OfScale::of(call, &api_version, of.replicas, parent, scale)?;
    let reset = ResetFields::default();
    let apply = managed_fields::Apply {
        manager: &call.options.field_manager,
        force: call.options.force,
        subresource: "scale",
        api_version: SCALE,
        now: &fields.now,
        schema: of.node,
        reset: &reset,
        versions: None,
    };
    let merged = managed_fields::apply(Some(&fields.live), config, &apply)
        .map_err(|error| error.status())?;
    fields.back(parent, &merged)?;
    Ok(merged)
}

/// Merges an applied configuration into the live object.
pub fn apply(
    call: &Call<'_>,
    kind: &Kind,
    part: Part,
    live: Option<&Value>,
    config: &Value,
) -> Result<Value, Status> {
    let now = time::seconds(call.now());
    let rows = Rows(call.kinds, kind);
    let apply = managed_fields::Apply {
        manager: &call.options.field_manager,
        force: call.options.force,
        subresource: part.name(),
        api_version: &kind.api_version(),
        now: &now,
        schema: kind.node(),
        reset: &reset_fields(kind, part),
        versions: call
            .kinds
            .has_other_versions(kind)
            .then_some(&rows as &dyn Versions),
    };
    managed_fields::apply(live, config, &apply).map_err(|error| error.status())
}
