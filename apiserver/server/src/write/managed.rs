//! Managed fields as the write path uses them: who owns what after an update or an apply.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/util/managedfields` and `.../endpoints/handlers/fieldmanager`.

use serde_json::{Value, json};
use skiff_api::{
    kinds::{Kind, Registry, Subresource},
    machinery::{
        managed_fields::{self, ResetFields, ScaleHandler, Versions},
        meta::Meta,
        quote::GoQuoted,
        read::Read,
        schema::Node,
        status::Status,
        time,
    },
};

use super::call::{Call, Part};
use crate::conversion::Memo;

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

/// The versions at which the objects of a kind can be seen.
struct Rows<'a> {
    kinds: &'a Registry,
    kind: &'a Kind,
    conversions: &'a Memo,
}

impl Versions for Rows<'_> {
    fn knows(&self, api_version: &str) -> Result<bool, String> {
        let kind = self.kind;
        if self.kinds.at_version(kind, api_version).is_some() {
            return Ok(true);
        }
        if api_version.matches('/').count() > 1 {
            return Err(format!("unexpected GroupVersion string: {api_version}"));
        }
        if !kind.flags.untyped {
            return Ok(false);
        }
        // who converts custom objects knows of no versions that were there once
        let group = api_version.split_once('/').map_or("", |(group, _)| group);
        Err(match group == kind.group {
            true => format!("request to convert CR to an invalid group/version: {api_version}"),
            false => format!(
                "{stored}, Kind={named} is unstructured and is not suitable for converting to {wanted}",
                stored = self
                    .kinds
                    .stored(&kind.stored_resource())
                    .map_or_else(|| kind.api_version(), |kind| kind.api_version()),
                named = kind.kind,
                wanted = GoQuoted(&api_version.trim_start_matches('/'))
            ),
        })
    }

    fn at<'v>(&'v self, object: &Value, api_version: &str) -> Option<(Value, Node<'v>)> {
        let row = self.kinds.at_version(self.kind, api_version)?;
        // what was brought into another version says so
        let from = self.kinds.at_version(self.kind, object.text("apiVersion"));
        let from = from.map_or(self.kind, |from| from);
        let other = self.conversions.get(from, row, object)?;
        Some((other, row.node()))
    }
}

/// What is managed: an object, or a part of it.
struct Managed<'a> {
    subresource: &'static str,
    api_version: &'a str,
    schema: Node<'a>,
    reset: ResetFields,
    versions: Option<&'a dyn Versions>,
}

impl Managed<'_> {
    fn track(
        &self,
        call: &Call<'_>,
        manager: &str,
        live: &Value,
        new: &mut Value,
    ) -> Result<(), Status> {
        let update = managed_fields::Update {
            manager,
            subresource: self.subresource,
            api_version: self.api_version,
            now: &time::seconds(call.now()),
            schema: self.schema,
            reset: &self.reset,
            versions: self.versions,
        };
        // what cannot be compared is nobody's
        if let Err(error) = managed_fields::track_update(live, new, &update) {
            tracing::debug!("who changed {} is not noted: {error}", new.name());
        }
        Ok(())
    }

    fn apply(
        &self,
        call: &Call<'_>,
        live: Option<&Value>,
        config: &Value,
    ) -> Result<Value, Status> {
        let apply = managed_fields::Apply {
            manager: &call.options.field_manager,
            force: call.options.force,
            subresource: self.subresource,
            api_version: self.api_version,
            now: &time::seconds(call.now()),
            schema: self.schema,
            reset: &self.reset,
            versions: self.versions,
        };
        let applied = managed_fields::apply(live, config, &apply);
        call.conversions.check()?;
        applied.map_err(|error| error.status())
    }
}

fn unreadable(error: impl std::fmt::Display) -> Status {
    Status::internal(error.to_string())
}

/// Does something with what is managed of a kind.
fn with<T>(call: &Call<'_>, kind: &Kind, part: Part, work: impl FnOnce(&Managed<'_>) -> T) -> T {
    let rows = Rows {
        kinds: call.kinds,
        kind,
        conversions: &call.conversions,
    };
    work(&Managed {
        subresource: part.name(),
        api_version: &kind.api_version(),
        schema: kind.node(),
        reset: reset_fields(kind, part),
        versions: Some(&rows),
    })
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
    // an empty list is as one entry that is empty: nobody is to own anything
    if matches!(part, Part::Whole) && call.emptied.has(&["metadata", "managedFields"]) {
        new.set_meta("managedFields", json!([{}]));
    }
    with(call, kind, part, |managed| {
        managed.track(call, manager, live, new)
    })
}

/// Notes the request's manager as the owner of all that it asks with `new`, a question to a subresource that is no part of its object.
pub fn track_question(
    call: &Call<'_>,
    subresource: &'static str,
    schema: Node<'_>,
    new: &mut Value,
) -> Result<(), Status> {
    let api_version = new.text("apiVersion").to_string();
    let managed = Managed {
        subresource,
        api_version: &api_version,
        schema,
        reset: ResetFields::default(),
        versions: None,
    };
    managed.track(call, &call.options.field_manager, &Value::Null, new)
}

/// Merges an applied configuration into the live object.
pub fn apply(
    call: &Call<'_>,
    kind: &Kind,
    part: Part,
    live: Option<&Value>,
    config: &Value,
) -> Result<Value, Status> {
    with(call, kind, part, |managed| {
        managed.apply(call, live, config)
    })
}

/// `Scale` has managed fields of its own, which are made of those of its object and go back there.
pub struct ScaleOf<'a> {
    pub kind: &'a Kind,
    pub kinds: &'a Registry,
    /// The type of a Scale.
    pub node: Node<'a>,
}

impl ScaleOf<'_> {
    fn handler<'h>(&'h self, api_version: &'h str) -> ScaleHandler<'h> {
        let versions = self.kinds.versions_of(self.kind);
        let replicas = versions.map(|kind| {
            let scale = kind.scale.as_ref();
            (kind.api_version(), scale.map(|scale| scale.spec_replicas))
        });
        ScaleHandler::new(api_version, replicas)
    }

    /// Has `work` make the new scale of the live one, which has its managers, and notes in `parent` who owns its replicas then.
    fn change(
        &self,
        parent: &mut Value,
        scale: &Value,
        work: impl FnOnce(&Managed<'_>, Value) -> Result<Value, Status>,
    ) -> Result<Value, Status> {
        let api_version = self.kind.api_version();
        let handler = self.handler(&api_version);
        let mut live = scale.clone();
        handler
            .to_subresource(parent, &mut live)
            .map_err(unreadable)?;
        let managed = Managed {
            subresource: "scale",
            api_version: "autoscaling/v1",
            schema: self.node,
            reset: ResetFields::default(),
            versions: None,
        };
        let new = work(&managed, live)?;
        handler.to_parent(parent, &new).map_err(unreadable)?;
        Ok(new)
    }
}

/// The `scale` of `parent` with those who own its replicas.
pub fn scale_with_managers(
    of: &ScaleOf<'_>,
    scale: &Value,
    parent: &Value,
) -> Result<Value, Status> {
    let api_version = of.kind.api_version();
    let mut shown = scale.clone();
    of.handler(&api_version)
        .to_subresource(parent, &mut shown)
        .map_err(unreadable)?;
    Ok(shown)
}

/// Notes in `parent` who owns its replicas after the `scale` of it was replaced by `wanted`.
pub fn track_scale(
    call: &Call<'_>,
    of: &ScaleOf<'_>,
    scale: &Value,
    wanted: &Value,
    parent: &mut Value,
) -> Result<(), Status> {
    of.change(parent, scale, |managed, live| {
        let mut wanted = wanted.clone();
        if let Some(entries) = live.at("metadata").get("managedFields") {
            wanted.set_meta("managedFields", entries.clone());
        }
        managed.track(call, &call.options.field_manager, &live, &mut wanted)?;
        Ok(wanted)
    })
    .map(drop)
}

/// Merges an applied configuration into the `scale` of `parent`, and notes there who owns its replicas.
pub fn apply_scale(
    call: &Call<'_>,
    of: &ScaleOf<'_>,
    scale: &Value,
    config: &Value,
    parent: &mut Value,
) -> Result<Value, Status> {
    of.change(parent, scale, |managed, live| {
        managed.apply(call, Some(&live), config)
    })
}
