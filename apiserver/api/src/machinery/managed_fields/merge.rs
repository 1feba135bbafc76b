//! Merging an applied configuration into the live object.
//!
//! Invariant: nothing that the live object has is removed here; the order of a list is the configuration's where it says one.
//! Follows `sigs.k8s.io/structured-merge-diff/v6/typed/merge.go`.

use crate::machinery::problem::{Problem, problem};
use serde_json::{Map, Value};

use super::element::PathElement;
use super::types::{Atom, List, MapType, Ty};

/// The live value with the configuration's put over it. Both must fit the type.
pub(super) fn merge(left: &Value, right: &Value, ty: Ty<'_>) -> Result<Value, Problem> {
    Ok(values(Some(left), Some(right), ty)?.unwrap_or(Value::Null))
}

type Side<'a> = Option<&'a Value>;

fn values(left: Side<'_>, right: Side<'_>, ty: Ty<'_>) -> Result<Option<Value>, Problem> {
    match ty.atom(right.or(left)) {
        Atom::Map(map) => {
            let (l, r) = (
                left.and_then(Value::as_object),
                right.and_then(Value::as_object),
            );
            let empty = l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty);
            if !map.atomic && !empty {
                return maps(l, r, &map);
            }
        }
        Atom::List(list) => {
            let (l, r) = (
                left.and_then(Value::as_array),
                right.and_then(Value::as_array),
            );
            let empty = l.is_none_or(Vec::is_empty) && r.is_none_or(Vec::is_empty);
            if !list.atomic && !empty {
                return lists(l.map_or(&[], |l| l), r.map_or(&[], |r| r), &list);
            }
        }
        Atom::Scalar(_) => {}
    }
    Ok(right.or(left).cloned())
}

fn maps(
    left: Option<&Map<String, Value>>,
    right: Option<&Map<String, Value>>,
    ty: &MapType<'_>,
) -> Result<Option<Value>, Problem> {
    let mut out = Map::new();
    let mut put = |key: &str, l: Side<'_>, r: Side<'_>| -> Result<(), Problem> {
        if let Some(value) = values(l, r, ty.child(key).unwrap_or(Ty::Deduced))? {
            out.insert(key.into(), value);
        }
        Ok(())
    };
    for (key, l) in left.into_iter().flatten() {
        put(key, Some(l), right.and_then(|r| r.get(key)))?;
    }
    for (key, r) in right
        .into_iter()
        .flatten()
        .filter(|(k, _)| left.is_none_or(|l| !l.contains_key(*k)))
    {
        put(key, None, Some(r))?;
    }
    Ok((!out.is_empty()).then_some(Value::Object(out)))
}

/// A list by its steps.
struct Indexed<'a> {
    /// Step and element, in the list's order.
    items: Vec<(PathElement<'a>, &'a Value)>,
    /// Places in `items`, sorted by step.
    sorted: Vec<usize>,
}

static NULL: Value = Value::Null;

impl<'a> Indexed<'a> {
    fn new(items: &'a [Value], ty: &List<'a>, duplicates: bool) -> Result<Indexed<'a>, Problem> {
        let mut found = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            found.push((
                ty.step(item).map_err(|e| format!("element {at}: {e}"))?,
                item,
            ));
        }
        let mut sorted: Vec<usize> = (0..found.len()).collect();
        sorted.sort_by(|a, b| found[*a].0.cmp(&found[*b].0));
        if let Some(pair) = sorted
            .windows(2)
            .find(|w| !duplicates && found[w[0]].0 == found[w[1]].0)
        {
            return Err(problem!("duplicate entries for key {}", found[pair[0]].0));
        }
        Ok(Indexed {
            items: found,
            sorted,
        })
    }

    /// The element of a step; null where the step stands twice.
    fn get(&self, step: &PathElement<'_>) -> Option<&'a Value> {
        let from = self.sorted.partition_point(|at| self.items[*at].0 < *step);
        let mut same = self.sorted[from..]
            .iter()
            .take_while(|at| self.items[**at].0 == *step);
        let first = same.next()?;
        Some(if same.next().is_some() {
            &NULL
        } else {
            self.items[*first].1
        })
    }
}

fn lists(left: &[Value], right: &[Value], ty: &List<'_>) -> Result<Option<Value>, Problem> {
    let right = Indexed::new(right, ty, false)?;
    let left = Indexed::new(left, ty, true)?;
    let mut shared = right
        .items
        .iter()
        .map(|(step, _)| step)
        .filter(|step| left.get(step).is_some());
    let mut next_shared = shared.next();
    let mut merged: Vec<&PathElement<'_>> = Vec::new();
    let mut out = Vec::with_capacity(left.items.len().max(right.items.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.items.len() || r < right.items.len() {
        if let (Some((step, _)), Some((wanted, item))) = (left.items.get(l), right.items.get(r)) {
            if step == wanted {
                merged.push(wanted);
                out.extend(values(left.get(step), Some(item), ty.element)?);
                (l, r) = (l + 1, r + 1);
                next_shared = shared.next();
                continue;
            }
            if right.get(step).is_some() && next_shared.is_some_and(|next| next != step) {
                // shared, but not the one whose turn it is
                l += 1;
                continue;
            }
        }
        if let Some((step, item)) = left.items.get(l) {
            if right.get(step).is_none() {
                out.extend(values(Some(item), None, ty.element)?);
                l += 1;
                continue;
            }
            if merged.contains(&step) {
                l += 1;
            }
        }
        if let Some((step, item)) = right.items.get(r) {
            merged.push(step);
            out.extend(values(left.get(step), Some(item), ty.element)?);
            r += 1;
            if next_shared == Some(step) {
                next_shared = shared.next();
            }
        }
    }
    Ok((!out.is_empty()).then_some(Value::Array(out)))
}
