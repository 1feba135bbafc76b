//! Merging one list into another.
//!
//! Invariant: a merged list holds no two elements that the patch and the server share an identity for.
//! Follows upstream's `strategicpatch/patch.go` (mergeSlice and what it calls).

use std::collections::{BTreeSet, HashMap, HashSet};

use serde_json::Value;

use super::apply::{Options, merge_map};
use super::order::{normalize, partition};
use super::{
    DIRECTIVE, ElementKind, Meta, Places, StrategicError, Strategy, element_kind, find, merge_value,
};

/// Merges `patch` into `original` as the field's strategy has it. `deleting`: the patch lists scalars to take out.
pub(super) fn merge_list(
    original: Vec<Value>,
    patch: Vec<Value>,
    meta: Meta<'_>,
    deleting: bool,
    options: Options,
) -> Result<Vec<Value>, StrategicError> {
    merge_list_seen(original, patch, meta, deleting, options).map(|(merged, _)| merged)
}

/// The same, and what became of the original list in the hands of whoever gave it: upstream changes it where it lies, so that elements which
/// take the place of deleted ones are in it, too. An order by the original list is one by this.
pub(super) fn merge_list_seen(
    original: Vec<Value>,
    patch: Vec<Value>,
    meta: Meta<'_>,
    deleting: bool,
    options: Options,
) -> Result<(Vec<Value>, Vec<Value>), StrategicError> {
    if meta.strategy != Strategy::Merge && !deleting {
        return Ok((patch, original));
    }
    if original.is_empty() && patch.is_empty() {
        return Ok((original, Vec::new()));
    }
    let kind = element_kind(&[&original, &patch])?;
    let length = original.len();
    let (merged, patch, original) = if kind == ElementKind::Scalar {
        if options.merge_parallel_list && deleting {
            let gone: HashSet<&Value> = patch.iter().collect();
            let left = original
                .iter()
                .filter(|v| !gone.contains(v))
                .cloned()
                .collect();
            return Ok((left, original));
        }
        let both = original.iter().chain(&patch).cloned().collect();
        (deduplicate(both), patch, original)
    } else {
        if meta.merge_key.is_empty() {
            return Err(StrategicError::Other(
                "cannot merge lists without merge key for struct".into(),
            ));
        }
        let (original, patch) = obey_directives(original, patch, meta.merge_key)?;
        merge_maps(original, patch, meta, options)?
    };
    let seen = if kind == ElementKind::Scalar {
        original.clone()
    } else {
        merged.iter().take(length).cloned().collect()
    };
    let (in_patch, server_only) = partition(merged, &patch, meta.merge_key)?;
    normalize(
        in_patch,
        server_only,
        &patch,
        &original,
        meta.merge_key,
        kind,
    )
    .map(|merged| (merged, seen))
}

/// Carries out `$patch` in the elements of a patch; returns the list to merge into and the elements without directives.
fn obey_directives(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    merge_key: &str,
) -> Result<(Vec<Value>, Vec<Value>), StrategicError> {
    let (mut plain, mut replace) = (Vec::with_capacity(patch.len()), false);
    let mut deleted: HashSet<Value> = HashSet::new();
    for item in patch {
        let Some(directive) = item.get(DIRECTIVE) else {
            plain.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                deleted.insert(merge_value(&item, merge_key)?.clone());
            }
            Some("replace") => replace = true,
            Some("merge") => {
                return Err(StrategicError::Other(
                    "merging lists cannot yet be specified in the patch".into(),
                ));
            }
            _ => {
                return Err(StrategicError::PatchType {
                    directive: directive.clone(),
                    map: item,
                });
            }
        }
    }
    let is_deleted = |item: &Value| item.get(merge_key).is_some_and(|key| deleted.contains(key));
    original.retain(|item| deleted.is_empty() || !is_deleted(item));
    Ok(if replace {
        (plain, Vec::new())
    } else {
        (original, plain)
    })
}

/// The merged list, the patch, and the original for its order.
type Merged = (Vec<Value>, Vec<Value>, Vec<Value>);

fn merge_maps(
    original: Vec<Value>,
    patch: Vec<Value>,
    meta: Meta<'_>,
    options: Options,
) -> Result<Merged, StrategicError> {
    let mut merged = original.clone();
    let mut places = Places::of(&original, meta.merge_key, ElementKind::Map);
    for item in &patch {
        let value = merge_value(item, meta.merge_key)?;
        let at = match places.get(value) {
            // one that has no key is found like one whose key is null, which it is not
            Some(at) if merged[at].get(meta.merge_key) != Some(value) => {
                find(&merged, meta.merge_key, value)?
            }
            at => at,
        };
        match at {
            Some(at) => {
                if let (Value::Object(into), Value::Object(from)) =
                    (merged[at].take(), item.clone())
                {
                    merged[at] = Value::Object(merge_map(into, from, meta.schema, options)?);
                }
            }
            None => {
                places.0.entry(value).or_insert(merged.len());
                merged.push(item.clone());
            }
        }
    }
    drop(places);
    Ok((merged, patch, original))
}

/// Drops what stands twice; the last element takes the place of one dropped, as upstream has it.
pub(super) fn deduplicate(mut list: Vec<Value>) -> Vec<Value> {
    // where each value stands; numbers stand for the values
    let mut numbers: HashMap<Value, usize> = HashMap::with_capacity(list.len());
    let mut stands: Vec<BTreeSet<usize>> = Vec::new();
    let mut of: Vec<usize> = Vec::with_capacity(list.len());
    for (at, value) in list.iter().enumerate() {
        let next = numbers.len();
        let number = *numbers.entry(value.clone()).or_insert(next);
        if number == stands.len() {
            stands.push(BTreeSet::new());
        }
        stands[number].insert(at);
        of.push(number);
    }
    let mut i = 0;
    while i < list.len() {
        let number = of[i];
        while let Some(j) = stands[number].range(i + 1..).next().copied() {
            let last = list.len() - 1;
            stands[number].remove(&j);
            if j != last {
                stands[of[last]].remove(&last);
                stands[of[last]].insert(j);
            }
            list.swap_remove(j);
            of.swap_remove(j);
        }
        i += 1;
    }
    list
}
