//! Applying a strategic merge patch to an object, and (for a client that makes one) to another patch.
//!
//! Invariant: order directives are carried out before the rest, and what they carried out is not merged again.
//! Follows upstream's `strategicpatch/patch.go` (mergeMap and what it calls).

use serde_json::Value;

use super::list::{merge_list, merge_list_seen};
use super::order::{normalize, partition};
use super::{
    DELETE_FROM, DIRECTIVE, LIST_TYPE, Object, RETAIN_KEYS, SET_ORDER, StrategicError, Strategy,
    arg_type, as_list, element_kind, go_type, lookup, lookup_list, merge_value,
};
use crate::machinery::patch::go::{GoList, GoValue};
use crate::machinery::read::go_kind;
use crate::machinery::schema::Node;

/// How to merge.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    /// Carry out the directives that stand beside a list (server), or keep them (client, merging two patches).
    pub merge_parallel_list: bool,
    /// Drop nulls that match nothing (server), or keep them for the server to see (client).
    pub ignore_unmatched_nulls: bool,
}

/// The object of the type at `schema` with `patch` applied to it.
pub fn apply(live: &Value, patch: &Value, schema: Node<'_>) -> Result<Value, StrategicError> {
    let nothing = Object::new();
    let (original, patch) = match (live, patch) {
        (Value::Object(original), Value::Object(patch)) => (original, patch),
        (Value::Object(original), Value::Null) => (original, &nothing),
        (Value::Object(_), other) => return Err(StrategicError::NoMap(go_kind(other))),
        _ => return Err(StrategicError::BadDocument),
    };
    let options = Options {
        merge_parallel_list: true,
        ignore_unmatched_nulls: true,
    };
    merge_map(original.clone(), patch.clone(), schema, options).map(Value::Object)
}

pub(super) fn merge_map(
    mut original: Object,
    mut patch: Object,
    schema: Node<'_>,
    options: Options,
) -> Result<Object, StrategicError> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return match directive.as_str() {
            Some("replace") => {
                patch.remove(DIRECTIVE);
                Ok(patch)
            }
            Some("delete") => Ok(Object::new()),
            _ => Err(StrategicError::PatchType {
                directive: directive.clone(),
                map: Value::Object(patch),
            }),
        };
    }
    retain_keys(&mut original, &mut patch, options)?;
    set_orders(&mut original, &mut patch, schema, options)?;
    for (key, value) in patch {
        merge_field(&mut original, key, value, schema, options)?;
    }
    Ok(original)
}

fn merge_field(
    original: &mut Object,
    key: String,
    mut value: Value,
    schema: Node<'_>,
    options: Options,
) -> Result<(), StrategicError> {
    let deleting = key.starts_with(DELETE_FROM);
    if deleting && !options.merge_parallel_list {
        original.insert(key, value);
        return Ok(());
    }
    let key = if deleting {
        target(&key, DELETE_FROM, StrategicError::PrimitiveList)?.to_string()
    } else {
        key
    };
    if value.is_null() {
        original.remove(&key);
        if options.ignore_unmatched_nulls {
            return Ok(());
        }
    }
    let Some(current) = original
        .get_mut(&key)
        .filter(|c| go_type(c) == go_type(&value))
    else {
        if !deleting {
            if options.ignore_unmatched_nulls {
                discard_nulls(&mut value);
            }
            match without_directives(value) {
                Some(value) => original.insert(key, value),
                None => original.remove(&key),
            };
        }
        return Ok(());
    };
    *current = match (current.take(), value) {
        (Value::Object(into), Value::Object(from)) => {
            let meta = lookup(schema, &key)?;
            Value::Object(if meta.strategy == Strategy::Replace {
                from
            } else {
                merge_map(into, from, meta.schema, options)?
            })
        }
        (Value::Array(into), Value::Array(from)) => Value::Array(merge_list(
            into,
            from,
            lookup_list(schema, &key)?,
            deleting,
            options,
        )?),
        (_, scalar) => scalar,
    };
    Ok(())
}

/// The field that a directive is about: what stands behind its `/`.
fn target<'a>(
    key: &'a str,
    prefix: &str,
    error: StrategicError,
) -> Result<&'a str, StrategicError> {
    key.split_once('/')
        .filter(|(before, _)| *before == prefix)
        .map(|(_, field)| field)
        .ok_or(error)
}

fn discard_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(discard_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(discard_nulls),
        _ => {}
    }
}

/// The value without elements and fields that are directives; nothing when it is one itself.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(map) if map.contains_key(DIRECTIVE) => None,
        Value::Object(map) => Some(Value::Object(
            map.into_iter()
                .filter_map(|(k, v)| Some((k, without_directives(v)?)))
                .collect(),
        )),
        Value::Array(items) => Some(Value::Array(
            items.into_iter().filter_map(without_directives).collect(),
        )),
        other => Some(other),
    }
}

/// Carries out `$retainKeys`: what it does not name is cleared. Between two patches it is handed on.
fn retain_keys(
    original: &mut Object,
    patch: &mut Object,
    options: Options,
) -> Result<(), StrategicError> {
    let Some(retained) = patch.remove(RETAIN_KEYS) else {
        return Ok(());
    };
    if !options.merge_parallel_list {
        match original.get(RETAIN_KEYS) {
            Some(there) if *there != retained => {
                return Err(StrategicError::Other(format!(
                    "{} and {} are not deep equal: this may happen when calculating the 3-way diff patch",
                    GoValue(there),
                    GoValue(&retained)
                )));
            }
            _ => original.insert(RETAIN_KEYS.into(), retained),
        };
        return Ok(());
    }
    let Value::Array(retained) = retained else {
        return Err(StrategicError::RetainKeys);
    };
    let named = |key: &str| retained.iter().any(|r| r == key);
    let free = |key: &str, value: &Value| {
        value.is_null() || key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER)
    };
    if patch.iter().any(|(k, v)| !free(k, v) && !named(k)) {
        return Err(StrategicError::RetainKeys);
    }
    original.retain(|key, _| named(key));
    Ok(())
}

/// Carries out every `$setElementOrder/…` with the list that it is about, and takes both from the patch. Between two patches the directive is handed on.
fn set_orders(
    original: &mut Object,
    patch: &mut Object,
    schema: Node<'_>,
    options: Options,
) -> Result<(), StrategicError> {
    let directives: Vec<String> = patch
        .keys()
        .filter(|k| k.starts_with(SET_ORDER))
        .cloned()
        .collect();
    for directive in directives {
        let Some(order) = patch.remove(&directive) else {
            continue;
        };
        if !options.merge_parallel_list {
            match original.get(&directive) {
                Some(there) if *there != order => return Err(StrategicError::SetElementOrder),
                Some(_) => {}
                None => {
                    original.insert(directive.clone(), order.clone());
                }
            }
        }
        let Value::Array(order) = order else {
            return Err(arg_type(LIST_TYPE, &order));
        };
        set_order(
            original,
            patch,
            target(&directive, SET_ORDER, StrategicError::SetElementOrder)?,
            &order,
            schema,
            options,
        )?;
    }
    Ok(())
}

fn set_order(
    original: &mut Object,
    patch: &mut Object,
    key: &str,
    order: &[Value],
    schema: Node<'_>,
    options: Options,
) -> Result<(), StrategicError> {
    let current = original.get(key).map(as_list).transpose()?.cloned();
    let wanted = patch.get(key).map(as_list).transpose()?.cloned();
    let meta = lookup_list(schema, key)?;
    check_order(wanted.as_deref().unwrap_or_default(), order, meta.merge_key)?;
    let kind = element_kind(&[
        current.as_deref().unwrap_or_default(),
        wanted.as_deref().unwrap_or_default(),
    ]);
    let (merged, current) = match (current, wanted) {
        (Some(current), None) => (current.clone(), current),
        (None, Some(wanted)) => (
            wanted.into_iter().filter_map(without_directives).collect(),
            Vec::new(),
        ),
        (Some(current), Some(wanted)) => merge_list_seen(current, wanted, meta, false, options)?,
        (None, None) => return Ok(()),
    };
    let (in_patch, server_only) = partition(merged, order, meta.merge_key)?;
    let sorted = normalize(
        in_patch,
        server_only,
        order,
        &current,
        meta.merge_key,
        kind?,
    )?;
    original.insert(key.into(), Value::Array(sorted));
    patch.remove(key);
    Ok(())
}

/// The elements of the patch must be in the order that the directive names, and all be named by it.
fn check_order(patch: &[Value], order: &[Value], merge_key: &str) -> Result<(), StrategicError> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut left = Vec::with_capacity(patch.len());
    for item in patch {
        let directive = if merge_key.is_empty() {
            item.get(DIRECTIVE)
        } else {
            super::as_map(item)?.get(DIRECTIVE)
        };
        if directive.is_none() {
            left.push(item);
        }
    }
    let mut left = left.into_iter().peekable();
    for named in order {
        let Some(item) = left.peek() else { break };
        let equal = if merge_key.is_empty() {
            *item == named
        } else {
            merge_value(item, merge_key)? == merge_value(named, merge_key)?
        };
        if equal {
            left.next();
        }
    }
    match left.peek() {
        None => Ok(()),
        Some(_) => Err(StrategicError::Other(format!(
            "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
            GoList(patch),
            GoList(order)
        ))),
    }
}
