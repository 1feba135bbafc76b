//! The order of a merged list: elements of the patch as the patch orders them, those of the server as they were, the two interleaved.
//!
//! Invariant: neither of the two orders is ever broken.
//! Follows upstream's `strategicpatch/patch.go` (normalizeElementOrder and what it calls).

use serde_json::Value;

use super::{DIRECTIVE, ElementKind, Places, StrategicError, find, identity, merge_value};

/// Merges the two parts of a list. `patch_order` orders the elements of the patch, `server_order` those that only the server has.
pub(super) fn normalize(
    patch: Vec<Value>,
    server_only: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    merge_key: &str,
    kind: ElementKind,
) -> Result<Vec<Value>, StrategicError> {
    let patch = sort_by(patch, patch_order, merge_key, kind)?;
    let server_only = sort_by(server_only, server_order, merge_key, kind)?;
    Ok(interleave(
        server_only,
        patch,
        server_order,
        merge_key,
        kind,
    ))
}

/// Sorts a list by the places of its elements in `order`; elements to delete go last.
pub(super) fn sort_by(
    list: Vec<Value>,
    order: &[Value],
    merge_key: &str,
    kind: ElementKind,
) -> Result<Vec<Value>, StrategicError> {
    let (list, deleted): (Vec<Value>, Vec<Value>) = if kind == ElementKind::Map {
        for item in list.iter().chain(order) {
            merge_value(item, merge_key)?;
        }
        list.into_iter().partition(|item| !is_deletion(item))
    } else {
        (list, Vec::new())
    };
    let places = Places::of(order, merge_key, kind);
    let mut placed: Vec<(Option<usize>, Value)> = list
        .into_iter()
        .map(|item| (places.get(identity(&item, merge_key, kind)), item))
        .collect();
    if placed.iter().all(|(place, _)| place.is_some()) {
        placed.sort_by_key(|(place, _)| *place);
    }
    // An element without a place counts as less than its neighbour, in both directions; so the algorithm matters, not only the comparison.
    for i in 1..placed.len() {
        let mut j = i;
        while j > 0 && less(placed[j].0, placed[j - 1].0) {
            placed.swap(j, j - 1);
            j -= 1;
        }
    }
    Ok(placed
        .into_iter()
        .map(|(_, item)| item)
        .chain(deleted)
        .collect())
}

fn less(a: Option<usize>, b: Option<usize>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a < b,
        _ => true,
    }
}

fn is_deletion(item: &Value) -> bool {
    item.get(DIRECTIVE).is_some_and(|d| d == "delete")
}

/// Puts each server element before the first patch element that stands behind it in the server's order.
fn interleave(
    server_only: Vec<Value>,
    patch: Vec<Value>,
    server_order: &[Value],
    merge_key: &str,
    kind: ElementKind,
) -> Vec<Value> {
    let places = Places::of(server_order, merge_key, kind);
    let at = |item: &Value| places.get(identity(item, merge_key, kind));
    let mut merged = Vec::with_capacity(server_only.len() + patch.len());
    let mut server = server_only.into_iter().peekable();
    for item in patch {
        let here = at(&item);
        while let (Some(next), Some(here)) = (server.peek(), here) {
            if at(next).is_none_or(|next| next >= here) {
                break;
            }
            merged.extend(server.next());
        }
        merged.push(item);
    }
    merged.extend(server);
    merged
}

/// Splits a list into the elements that also are in `by`, and the others.
pub(super) fn partition(
    list: Vec<Value>,
    by: &[Value],
    merge_key: &str,
) -> Result<(Vec<Value>, Vec<Value>), StrategicError> {
    let (mut present, mut others) = (Vec::with_capacity(list.len()), Vec::new());
    let scalars = merge_key.is_empty();
    let kind = match scalars {
        true => ElementKind::Scalar,
        false => ElementKind::Map,
    };
    let places = Places::of(by, merge_key, kind);
    let maps = by.iter().all(Value::is_object);
    for item in list {
        let found = if scalars {
            places.get(&item).is_some()
        } else {
            let value = merge_value(&item, merge_key)?;
            match places.get(value) {
                // it may be one that has no key, or stand behind what is no map
                Some(_) if value.is_null() || !maps => find(by, merge_key, value)?.is_some(),
                None if !maps => find(by, merge_key, value)?.is_some(),
                found => found.is_some(),
            }
        };
        if found { &mut present } else { &mut others }.push(item);
    }
    Ok((present, others))
}
