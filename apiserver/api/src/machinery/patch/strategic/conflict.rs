//! Whether two strategic merge patches say different things about one field.
//!
//! Invariant: patches about different fields or differently keyed elements never conflict.
//! Follows upstream's `strategicpatch/patch.go` (MergingMapsHaveConflicts and what it calls).

use serde_json::Value;

use super::{
    DIRECTIVE, ElementKind, Meta, Object, RETAIN_KEYS, StrategicError, Strategy, element_kind,
    lookup, lookup_list,
};
use crate::machinery::patch::go::{GoList, GoValue};
use crate::machinery::schema::Node;

/// Compares two patches of the type at `schema`.
pub(super) fn conflict(
    left: &Value,
    right: &Value,
    schema: Node<'_>,
) -> Result<bool, StrategicError> {
    compare(
        left,
        right,
        Some(Meta {
            schema,
            strategy: Strategy::Unset,
            retain_keys: false,
            merge_key: "",
        }),
    )
}

fn compare(left: &Value, right: &Value, meta: Option<Meta<'_>>) -> Result<bool, StrategicError> {
    match (left, right) {
        (Value::Object(l), Value::Object(r)) => {
            if l.get(DIRECTIVE) != r.get(DIRECTIVE) {
                return Ok(true);
            }
            match meta {
                Some(meta) if meta.strategy != Strategy::Replace => maps(l, r, meta.schema),
                _ => Ok(false),
            }
        }
        (Value::Object(_), _) => Ok(true),
        (Value::Array(l), Value::Array(r)) => lists(l, r, meta),
        (Value::Array(_), _) => Ok(true),
        _ => Ok(left != right),
    }
}

fn maps(left: &Object, right: &Object, schema: Node<'_>) -> Result<bool, StrategicError> {
    for (key, l) in left
        .iter()
        .filter(|(k, _)| *k != DIRECTIVE && *k != RETAIN_KEYS)
    {
        let Some(r) = right.get(key) else { continue };
        let meta = match l {
            Value::Array(_) => Some(lookup_list(schema, key)?),
            Value::Object(_) => Some(lookup(schema, key)?),
            _ => None,
        };
        if compare(l, r, meta)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lists(left: &[Value], right: &[Value], meta: Option<Meta<'_>>) -> Result<bool, StrategicError> {
    let kind = element_kind(&[left, right])?;
    if let Some(meta) = meta.filter(|m| m.strategy == Strategy::Merge) {
        if kind == ElementKind::Scalar {
            return Ok(false);
        }
        let inner = Some(Meta {
            strategy: Strategy::Unset,
            merge_key: "",
            ..meta
        });
        let (left, right) = (keyed(left, meta.merge_key)?, keyed(right, meta.merge_key)?);
        for (key, l) in &left {
            if let Some((_, r)) = right.iter().rev().find(|(k, _)| k == key)
                && compare(l, r, inner)?
            {
                return Ok(true);
            }
        }
        return Ok(false);
    }
    if left.len() != right.len() {
        return Ok(true);
    }
    if kind == ElementKind::Scalar {
        return Ok(sorted(left) != sorted(right));
    }
    let inner = meta.map(|m| Meta {
        strategy: Strategy::Unset,
        merge_key: "",
        ..m
    });
    for (l, r) in left.iter().zip(right) {
        if compare(l, r, inner)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn sorted(list: &[Value]) -> Vec<String> {
    let mut printed: Vec<String> = list.iter().map(|v| GoValue(v).to_string()).collect();
    printed.sort();
    printed.dedup();
    printed
}

fn keyed<'a>(
    list: &'a [Value],
    merge_key: &str,
) -> Result<Vec<(String, &'a Value)>, StrategicError> {
    list.iter()
        .map(|item| match item.get(merge_key) {
            Some(value) => Ok((GoValue(value).to_string(), item)),
            None if item.is_object() => Err(StrategicError::Other(format!(
                "cannot find merge key `{merge_key}` in merging list element:{}",
                GoValue(item)
            ))),
            None => Err(StrategicError::Other(format!(
                "invalid element type in merging list:{}",
                GoList(list)
            ))),
        })
        .collect()
}
