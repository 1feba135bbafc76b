//! What of an update is not its writer's to change, by the part that it is about, and whether it counts as a new generation.
//!
//! Follows `BeforeUpdate` of `staging/src/k8s.io/apiserver/pkg/registry/rest/update.go`.

use serde_json::Value;
use skiff_api::{
    kinds::{Generation, Kind, Subresource, strategy::keep_metadata},
    machinery::{meta::Meta, schema::conform, status::Status},
};

use crate::emptied::Emptied;

use super::{call::Part, difference::desired_differs};

/// Makes `new` what may be written over `live`. `emptied` is what of it was given and holds nothing.
pub(super) fn prepare(
    kind: &Kind,
    part: Part,
    new: &mut Value,
    live: &Value,
    emptied: &Emptied,
) -> Result<(), Status> {
    keep(new, live, "generation");
    if new.meta_str("uid").is_empty() {
        keep(new, live, "uid");
    }
    keep(new, live, "creationTimestamp");
    // a deletion once begun is not taken back, and its grace is not changed by an update
    if live.is_deleting() {
        keep(new, live, "deletionTimestamp");
        keep(new, live, "deletionGracePeriodSeconds");
    }
    match part {
        Part::Sub(Subresource::Status) => {
            let mut base = live.clone();
            if let Some(base) = base.as_object_mut() {
                base.insert("metadata".into(), new["metadata"].take());
            }
            take_status(&mut base, new);
            *new = base;
            if kind.flags.status_reset.contains(&"metadata") {
                keep_metadata(new, live);
            }
            (kind.strategy.prepare_for_status_update)(new, live);
        }
        Part::Sub(sub) => {
            if let Some(rules) = kind.strategy.part(sub.name()) {
                (rules.prepare)(new, live);
            }
        }
        Part::Whole => {
            if kind.has_status() {
                take_status(new, live);
            }
            emptied.prepared(kind, new, |new| {
                (kind.strategy.prepare_for_update)(new, live)
            })?;
        }
    }
    conform(new, kind.node()).map_err(|error| Status::internal(error.to_string()))?;
    if matches!(
        kind.flags.generation,
        Generation::Counted | Generation::CountedFromZero
    ) && !matches!(part, Part::Sub(Subresource::Status | Subresource::Binding))
        && (desired_differs(kind, new, live)
            || kind.flags.empties_are_desired && emptied.in_desired(new))
    {
        new.set_meta("generation", live.generation() + 1);
    }
    Ok(())
}

/// The field of the metadata is as it was.
fn keep(new: &mut Value, live: &Value, name: &str) {
    match live.meta().and_then(|meta| meta.get(name)) {
        Some(value) => {
            new.meta_mut().insert(name.into(), value.clone());
        }
        None => {
            new.meta_mut().remove(name);
        }
    }
}

fn take_status(new: &mut Value, from: &Value) {
    let Some(object) = new.as_object_mut() else {
        return;
    };
    match from.get("status") {
        Some(status) => {
            object.insert("status".into(), status.clone());
        }
        None => {
            object.remove("status");
        }
    }
}
