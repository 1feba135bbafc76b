//! Making strategic merge patches: of two objects, and of three (`kubectl apply`).
//!
//! Invariant: a three-way patch deletes only what was applied last and is wanted no more; what others added stays.
//! Follows upstream's `strategicpatch/patch.go` (CreateTwoWayMergePatch, CreateThreeWayMergePatch).

use serde_json::Value;

use super::apply::{self, merge_map};
use super::conflict::conflict;
use super::diff::{Options, diff_maps};
use super::{Object, StrategicError};
use crate::machinery::patch::Precondition;
use crate::machinery::schema::Node;

fn document(value: &Value) -> Result<Object, StrategicError> {
    match value {
        Value::Null => Ok(Object::new()),
        Value::Object(map) => Ok(map.clone()),
        _ => Err(StrategicError::BadDocument),
    }
}

fn check(patch: Object, preconditions: &[Precondition]) -> Result<Value, StrategicError> {
    let patch = Value::Object(patch);
    if preconditions.iter().all(|p| p.holds(&patch)) {
        Ok(patch)
    } else {
        Err(StrategicError::Precondition(patch))
    }
}

/// The patch that makes `modified` of `original`. Null counts as an empty object.
pub fn two_way(
    original: &Value,
    modified: &Value,
    schema: Node<'_>,
    preconditions: &[Precondition],
) -> Result<Value, StrategicError> {
    let options = Options {
        set_element_order: true,
        ..Options::default()
    };
    check(
        diff_maps(&document(original)?, &document(modified)?, schema, options)?,
        preconditions,
    )
}

/// The patch that brings `current` (live) to `modified` (wanted), and takes out what `original` (applied last) had and `modified` has not.
/// Without `overwrite`, a field that both the user and others changed since is a conflict. Null counts as an empty object.
pub fn three_way(
    original: &Value,
    modified: &Value,
    current: &Value,
    schema: Node<'_>,
    overwrite: bool,
    preconditions: &[Precondition],
) -> Result<Value, StrategicError> {
    let (original, modified, current) =
        (document(original)?, document(modified)?, document(current)?);
    let additions = diff_maps(
        &current,
        &modified,
        schema,
        Options {
            ignore_deletions: true,
            set_element_order: true,
            ..Options::default()
        },
    )?;
    let deletions = diff_maps(
        &original,
        &modified,
        schema,
        Options {
            ignore_changes_and_additions: true,
            set_element_order: true,
            ..Options::default()
        },
    )?;
    let patch = check(
        merge_map(deletions, additions, schema, apply::Options::default())?,
        preconditions,
    )?;
    if !overwrite {
        let changed = Value::Object(diff_maps(&original, &current, schema, Options::default())?);
        if conflict(&patch, &changed, schema)? {
            return Err(StrategicError::Conflict { patch, changed });
        }
    }
    Ok(patch)
}
