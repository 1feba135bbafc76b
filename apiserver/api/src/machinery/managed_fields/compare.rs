//! What changed from one object to another, as sets of paths.
//!
//! Invariant: a path is never both changed and removed. Nothing is copied: the sets borrow from the two objects.
//! Follows `sigs.k8s.io/structured-merge-diff/v6/typed/compare.go`.

use serde_json::{Map, Value};

use super::element::{PathElement, equal};
use super::set::{Set, SetNode};
use super::types::{Atom, List, MapType, Ty};

/// What changed at a path and below it.
#[derive(Debug, Default)]
pub(super) struct Delta<'a> {
    /// Added or modified.
    pub changed: SetNode<'a>,
    pub removed: SetNode<'a>,
}

/// Compares two objects of one type. Fails when an element of a list cannot be told from the others.
pub(super) fn compare<'a>(left: &'a Value, right: &'a Value, ty: Ty<'a>) -> Result<(Set<'a>, Set<'a>), String> {
    let delta = values(Some(left), Some(right), ty)?;
    Ok((delta.changed.below, delta.removed.below))
}

type Side<'a> = Option<&'a Value>;

fn values<'a>(left: Side<'a>, right: Side<'a>, ty: Ty<'a>) -> Result<Delta<'a>, String> {
    let mut delta = Delta::default();
    let leaf = if ty.is_deduced() && kinds_differ(left, right) {
        // Both ways of reading the place are walked; what each finds counts.
        atoms(left, right, ty.atom(left), &mut delta)?;
        atoms(left, right, ty.atom(right), &mut delta)?
    } else {
        atoms(left, right, ty.atom(right.or(left)), &mut delta)?
    };
    if !leaf {
        delta.changed.member |= left.is_none();
        delta.removed.member |= left.is_some() && right.is_none();
    }
    Ok(delta)
}

fn kinds_differ(left: Side<'_>, right: Side<'_>) -> bool {
    let kind = |v: &Value| match v {
        Value::Null => 0,
        Value::Object(_) => 1,
        Value::Array(_) => 2,
        _ => 3,
    };
    left.zip(right).is_some_and(|(l, r)| kind(l) != kind(r))
}

/// Compares as one kind of value; tells whether the place is a leaf.
fn atoms<'a>(left: Side<'a>, right: Side<'a>, atom: Atom<'a>, delta: &mut Delta<'a>) -> Result<bool, String> {
    match atom {
        Atom::Map(map) => {
            let (l, r) = (left.and_then(Value::as_object), right.and_then(Value::as_object));
            if !map.atomic && !(l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty)) {
                maps(l, r, &map, delta)?;
                return Ok(false);
            }
        }
        Atom::List(list) => {
            let (l, r) = (left.and_then(Value::as_array), right.and_then(Value::as_array));
            if !list.atomic && !(l.is_none_or(Vec::is_empty) && r.is_none_or(Vec::is_empty)) {
                lists(l.map_or(&[], |l| l), r.map_or(&[], |r| r), &list, delta)?;
                return Ok(false);
            }
        }
        Atom::Scalar(_) => {}
    }
    match (left, right) {
        (None, _) => delta.changed.member = true,
        (_, None) => delta.removed.member = true,
        (Some(l), Some(r)) => delta.changed.member |= !equal(l, r),
    }
    Ok(true)
}

fn put<'a>(delta: &mut Delta<'a>, step: PathElement<'a>, found: Delta<'a>) {
    match (found.changed.is_empty(), found.removed.is_empty()) {
        (false, false) => {
            delta.changed.below.push(step.clone(), found.changed);
            delta.removed.below.push(step, found.removed);
        }
        (false, true) => delta.changed.below.push(step, found.changed),
        _ => delta.removed.below.push(step, found.removed),
    }
}

fn maps<'a>(left: Option<&'a Map<String, Value>>, right: Option<&'a Map<String, Value>>, ty: &MapType<'a>, delta: &mut Delta<'a>) -> Result<(), String> {
    let (mut l, mut r) = (left.into_iter().flatten().peekable(), right.into_iter().flatten().peekable());
    loop {
        let order = match (l.peek(), r.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((lk, _)), Some((rk, _))) => lk.cmp(rk),
        };
        let from_left = if order.is_le() { l.next() } else { None };
        let from_right = if order.is_ge() { r.next() } else { None };
        let Some((key, _)) = from_left.or(from_right) else { return Ok(()) };
        // What no schema declares was refused before; it is compared as it stands.
        let child = ty.child(key).unwrap_or(Ty::Deduced);
        let found = values(from_left.map(|(_, v)| v), from_right.map(|(_, v)| v), child)?;
        if !found.changed.is_empty() || !found.removed.is_empty() {
            put(delta, PathElement::field(key), found);
        }
    }
}

/// Elements by their step, sorted; equal steps in the order of the list.
fn indexed<'a>(items: &'a [Value], ty: &List<'a>) -> Result<Vec<(PathElement<'a>, &'a Value)>, String> {
    let mut found = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        found.push((ty.step(item).map_err(|e| format!("element {at}: {e}"))?, item));
    }
    if !found.is_sorted_by(|a, b| a.0 <= b.0) {
        found.sort_by(|a, b| a.0.cmp(&b.0));
    }
    Ok(found)
}

fn lists<'a>(left: &'a [Value], right: &'a [Value], ty: &List<'a>, delta: &mut Delta<'a>) -> Result<(), String> {
    let (left, right) = (indexed(left, ty)?, indexed(right, ty)?);
    let (mut l, mut r) = (&left[..], &right[..]);
    while let Some((step, _)) = match (l.first(), r.first()) {
        (Some(a), Some(b)) => Some(if a.0 <= b.0 { a } else { b }),
        (a, b) => a.or(b),
    } {
        let same = |list: &[(PathElement<'a>, &'a Value)]| list.iter().take_while(|(s, _)| s == step).count();
        let (ln, rn) = (same(l), same(r));
        let found = elements(&l[..ln], &r[..rn], ty.element)?;
        put(delta, step.clone(), found);
        (l, r) = (&l[ln..], &r[rn..]);
    }
    Ok(())
}

/// Compares the elements of one step. Where it stands twice, all of them are one leaf.
fn elements<'a>(left: &[(PathElement<'a>, &'a Value)], right: &[(PathElement<'a>, &'a Value)], ty: Ty<'a>) -> Result<Delta<'a>, String> {
    let first = |list: &[(PathElement<'a>, &'a Value)]| list.first().map(|(_, v)| *v);
    match (left.len(), right.len()) {
        (0..=1, 0..=1) => values(first(left), first(right), ty),
        (2.., 2..) => {
            let same = left.len() == right.len() && left.iter().zip(right).all(|(l, r)| equal(l.1, r.1));
            Ok(Delta { changed: SetNode { member: !same, ..SetNode::default() }, ..Delta::default() })
        }
        (2.., _) => {
            let mut found = if right.is_empty() { Delta::default() } else { values(None, first(right), ty)? };
            found.removed.member = true;
            Ok(found)
        }
        (_, _) => {
            let mut found = if left.is_empty() { Delta::default() } else { values(first(left), None, ty)? };
            found.changed.member = true;
            Ok(found)
        }
    }
}
