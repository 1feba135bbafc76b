//! The difference of two objects as a strategic merge patch.
//!
//! Invariant: the patch, applied to the first object, gives the second (unless additions or deletions are left out on purpose).
//! Follows upstream's `strategicpatch/patch.go` (diffMaps and what it calls).

use serde_json::{Value, json};

use super::list::deduplicate;
use super::order::sort_by;
use super::{
    DELETE_FROM, DIRECTIVE, ElementKind, Meta, Object, RETAIN_KEYS, SET_ORDER, StrategicError,
    Strategy, element_kind, go_type, lookup, lookup_list, merge_value,
};
use crate::machinery::patch::go::GoValue;
use crate::machinery::schema::Node;

/// What to put into a difference.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Options {
    /// Say the order of merged lists with `$setElementOrder`.
    pub set_element_order: bool,
    pub ignore_changes_and_additions: bool,
    pub ignore_deletions: bool,
    /// Say with `$retainKeys` which fields of this object stay.
    pub retain_keys: bool,
}

pub(super) fn diff_maps(
    original: &Object,
    modified: &Object,
    schema: Node<'_>,
    options: Options,
) -> Result<Object, StrategicError> {
    let mut patch = Object::new();
    for (key, new) in modified {
        match original.get(key) {
            Some(old) => diff_field(&mut patch, key, old, new, schema, options)?,
            None if !options.ignore_changes_and_additions => {
                patch.insert(key.clone(), new.clone());
            }
            None => {}
        }
    }
    if !options.ignore_deletions {
        for key in original.keys().filter(|k| !modified.contains_key(*k)) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    if options.retain_keys {
        let retained: Vec<&String> = modified
            .iter()
            .filter(|(_, v)| !v.is_null())
            .map(|(k, _)| k)
            .collect();
        let cleared = original
            .iter()
            .any(|(k, v)| !v.is_null() && !modified.contains_key(k));
        if !retained.is_empty() && (!patch.is_empty() || cleared) {
            patch.insert(RETAIN_KEYS.into(), json!(retained));
        }
    }
    Ok(patch)
}

fn diff_field(
    patch: &mut Object,
    key: &str,
    old: &Value,
    new: &Value,
    schema: Node<'_>,
    options: Options,
) -> Result<(), StrategicError> {
    if key == DIRECTIVE {
        if !old.is_string() || !new.is_string() {
            return Err(StrategicError::Other(format!(
                "invalid value for special key: {DIRECTIVE}"
            )));
        }
        if old != new {
            patch.insert(key.into(), new.clone());
        }
        return Ok(());
    }
    if go_type(old) != go_type(new) {
        replace(patch, key, new, options);
        return Ok(());
    }
    match (old, new) {
        (Value::Object(o), Value::Object(n)) => match lookup(schema, key) {
            Err(_) if old == new => {}
            Err(error) => return Err(error),
            Ok(meta) if meta.strategy == Strategy::Replace => replace(patch, key, new, options),
            Ok(meta) => {
                let inner = diff_maps(
                    o,
                    n,
                    meta.schema,
                    Options {
                        retain_keys: meta.retain_keys,
                        ..options
                    },
                )?;
                if !inner.is_empty() {
                    patch.insert(key.into(), Value::Object(inner));
                }
            }
        },
        (Value::Array(o), Value::Array(n)) => match lookup_list(schema, key) {
            Err(_) if old == new => {}
            Err(error) => return Err(error),
            Ok(meta) if meta.strategy == Strategy::Merge => {
                let lists = diff_lists(
                    o,
                    n,
                    meta,
                    Options {
                        retain_keys: meta.retain_keys,
                        ..options
                    },
                )?;
                let mut put = |key: String, list: Vec<Value>| {
                    if !list.is_empty() {
                        patch.insert(key, Value::Array(list));
                    }
                };
                put(key.into(), lists.patch);
                put(format!("{DELETE_FROM}/{key}"), lists.delete);
                put(format!("{SET_ORDER}/{key}"), lists.order);
            }
            Ok(_) if old != new => replace(patch, key, new, options),
            Ok(_) => {}
        },
        _ if old != new => replace(patch, key, new, options),
        _ => {}
    }
    Ok(())
}

fn replace(patch: &mut Object, key: &str, new: &Value, options: Options) {
    if !options.ignore_changes_and_additions {
        patch.insert(key.into(), new.clone());
    }
}

/// The difference of two lists: what to merge, which scalars to take out, in what order the result is to be.
#[derive(Default)]
struct Lists {
    patch: Vec<Value>,
    delete: Vec<Value>,
    order: Vec<Value>,
}

fn diff_lists(
    original: &[Value],
    modified: &[Value],
    meta: Meta<'_>,
    options: Options,
) -> Result<Lists, StrategicError> {
    if original.is_empty() {
        let all = if options.ignore_changes_and_additions {
            Vec::new()
        } else {
            modified.to_vec()
        };
        return Ok(Lists {
            patch: all,
            ..Lists::default()
        });
    }
    let additions = !options.ignore_changes_and_additions;
    let deletions = !options.ignore_deletions;
    if element_kind(&[original, modified])? == ElementKind::Scalar {
        let (add, delete, sorted) = diff_scalars(original, modified, options);
        let patch = sort_by(add, modified, "", ElementKind::Scalar)?;
        // Upstream sorts the first list in place and compares the result with the second; the order is told even when only that differs.
        let ordered = options.set_element_order
            && ((deletions && !delete.is_empty()) || (additions && sorted != modified));
        return Ok(Lists {
            patch,
            delete,
            order: if ordered {
                modified.to_vec()
            } else {
                Vec::new()
            },
        });
    }
    let (patch, delete) = diff_list_of_maps(original, modified, meta, options)?;
    let mut patch = sort_by(patch, modified, meta.merge_key, ElementKind::Map)?;
    let same_order = same_order(original, modified, meta.merge_key)?;
    patch.extend(delete);
    let ordered = options.set_element_order
        && ((additions && (!patch.is_empty() || !same_order)) || (deletions && !patch.is_empty()));
    let order = if ordered {
        modified
            .iter()
            .map(|v| json!({meta.merge_key: v.get(meta.merge_key)}))
            .collect()
    } else {
        Vec::new()
    };
    Ok(Lists {
        patch,
        delete: Vec::new(),
        order,
    })
}

fn same_order(
    original: &[Value],
    modified: &[Value],
    merge_key: &str,
) -> Result<bool, StrategicError> {
    if original.len() != modified.len() {
        return Ok(false);
    }
    for (o, m) in original.iter().zip(modified) {
        let equal = if merge_key.is_empty() {
            o == m
        } else {
            merge_value(o, merge_key)? == merge_value(m, merge_key)?
        };
        if !equal {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Sorts by what Go prints for the key. Equal ones swap, as they do with upstream's comparison.
fn sort_printed(list: &[Value], key: impl Fn(&Value) -> String) -> Vec<(String, Value)> {
    let mut sorted: Vec<(String, Value)> = list.iter().map(|v| (key(v), v.clone())).collect();
    for i in 1..sorted.len() {
        let mut j = i;
        while j > 0 && sorted[j].0 <= sorted[j - 1].0 {
            sorted.swap(j, j - 1);
            j -= 1;
        }
    }
    sorted
}

/// Scalars to add, scalars to take out, and the first list sorted.
fn diff_scalars(
    original: &[Value],
    modified: &[Value],
    options: Options,
) -> (Vec<Value>, Vec<Value>, Vec<Value>) {
    let printed = |v: &Value| GoValue(v).to_string();
    let (olds, news) = (
        sort_printed(original, printed),
        sort_printed(modified, printed),
    );
    let (mut add, mut delete, mut o, mut n) = (Vec::new(), Vec::new(), 0, 0);
    loop {
        match (olds.get(o), news.get(n)) {
            (None, None) => break,
            (Some((old, _)), Some((new, _))) if old == new => (o, n) = (o + 1, n + 1),
            (Some((old, value)), other) if other.is_none_or(|(new, _)| old < new) => {
                if !options.ignore_deletions {
                    delete.push(value.clone());
                }
                o += 1;
            }
            (_, Some((_, value))) => {
                if !options.ignore_changes_and_additions {
                    add.push(value.clone());
                }
                n += 1;
            }
            (Some(_), None) => o += 1,
        }
    }
    (
        add,
        deduplicate(delete),
        olds.into_iter().map(|(_, v)| v).collect(),
    )
}

/// Elements to merge, and elements that tell a deletion.
fn diff_list_of_maps(
    original: &[Value],
    modified: &[Value],
    meta: Meta<'_>,
    options: Options,
) -> Result<(Vec<Value>, Vec<Value>), StrategicError> {
    let key = meta.merge_key;
    for item in original.iter().chain(modified) {
        merge_value(item, key)?;
    }
    let printed = |v: &Value| {
        v.get(key)
            .map(|v| GoValue(v).to_string())
            .unwrap_or_default()
    };
    let (olds, news) = (
        sort_printed(original, printed),
        sort_printed(modified, printed),
    );
    let (mut patch, mut delete, mut o, mut n) = (Vec::new(), Vec::new(), 0, 0);
    loop {
        match (olds.get(o), news.get(n)) {
            (None, None) => break,
            (Some((old_key, Value::Object(old))), Some((new_key, Value::Object(new))))
                if old_key == new_key =>
            {
                let mut inner = diff_maps(old, new, meta.schema, options)?;
                if !inner.is_empty() {
                    inner.insert(key.into(), new[key].clone());
                    patch.push(Value::Object(inner));
                }
                (o, n) = (o + 1, n + 1);
            }
            (Some((old_key, old)), other) if other.is_none_or(|(new_key, _)| old_key < new_key) => {
                if !options.ignore_deletions {
                    delete.push(json!({DIRECTIVE: "delete", key: old[key]}));
                }
                o += 1;
            }
            (_, Some((_, new))) => {
                if !options.ignore_changes_and_additions {
                    patch.push(new.clone());
                }
                n += 1;
            }
            (Some(_), None) => o += 1,
        }
    }
    Ok((patch, delete))
}
