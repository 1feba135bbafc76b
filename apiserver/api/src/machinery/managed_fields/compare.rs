//! What changed from one object to another, as sets of paths.
//!
//! Invariant: a path is never both changed and removed. Nothing is copied: the sets borrow from the two objects.
//! This runs at every write: what is equal on both sides is passed over without asking the schema.
//! Follows `sigs.k8s.io/structured-merge-diff/v6/typed/compare.go`.

use crate::machinery::problem::Problem;
use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::element::{PathElement, equal};
use super::set::{Set, SetNode};
use super::types::{Atom, List, MapType, Ty};

/// What changed at a path and below it.
#[derive(Debug, Default)]
struct Delta<'a> {
    /// Added or modified.
    changed: SetNode<'a>,
    removed: SetNode<'a>,
}

/// Compares two objects of one type: what was added or modified, and what was removed. Fails when an element of a list cannot be told from the others.
pub(super) fn compare<'a>(
    left: &'a Value,
    right: &'a Value,
    ty: Ty<'a>,
) -> Result<(Set<'a>, Set<'a>), Problem> {
    let mut delta = Delta::default();
    both(left, right, ty, &mut delta)?;
    Ok((delta.changed.below, delta.removed.below))
}

/// All of a value that stands on one side only: every path in it.
fn whole<'a>(value: &'a Value, ty: Ty<'a>) -> Result<SetNode<'a>, Problem> {
    let below = match (value, ty.atom(Some(value))) {
        (Value::Object(fields), Atom::Map(map)) if !map.atomic => {
            let mut below = Set::with_capacity(fields.len());
            for (key, child) in fields {
                // Whatever its type is, a scalar is a leaf.
                let scalar = !child.is_object() && !child.is_array();
                let node = if scalar {
                    SetNode::leaf()
                } else {
                    whole(child, map.child(key).unwrap_or(Ty::Deduced))?
                };
                below.push_last(PathElement::field(key), node);
            }
            below
        }
        (Value::Array(items), Atom::List(list)) if !list.atomic => {
            let steps = indexed(items, &list)?;
            let mut below = Set::with_capacity(steps.len());
            for group in steps.chunk_by(|a, b| a.0 == b.0) {
                // An element that stands twice is one leaf.
                let node = if let [(_, item)] = group {
                    whole(item, list.element)?
                } else {
                    SetNode::leaf()
                };
                below.push_last(group[0].0.clone(), node);
            }
            below
        }
        _ => Set::default(),
    };
    Ok(SetNode {
        member: true,
        below,
    })
}

fn both<'a>(
    left: &'a Value,
    right: &'a Value,
    ty: Ty<'a>,
    delta: &mut Delta<'a>,
) -> Result<(), Problem> {
    let atom = ty.atom(Some(right));
    if ty.is_deduced() && kind(left) != kind(right) {
        // Both ways of reading the place are walked; what each finds counts.
        as_atom(left, right, ty.atom(Some(left)), delta)?;
    }
    as_atom(left, right, atom, delta)
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Object(_) => 1,
        Value::Array(_) => 2,
        _ => 3,
    }
}

fn as_atom<'a>(
    left: &'a Value,
    right: &'a Value,
    atom: Atom<'a>,
    delta: &mut Delta<'a>,
) -> Result<(), Problem> {
    match atom {
        Atom::Map(map) if !map.atomic => {
            let (l, r) = (left.as_object(), right.as_object());
            if !(l.is_none_or(Map::is_empty) && r.is_none_or(Map::is_empty)) {
                return maps(l, r, &map, delta);
            }
        }
        Atom::List(list) if !list.atomic => {
            let (l, r) = (
                left.as_array().map_or(&[][..], |l| l),
                right.as_array().map_or(&[][..], |r| r),
            );
            if !(l.is_empty() && r.is_empty()) {
                return if l == r {
                    Ok(())
                } else {
                    lists(l, r, &list, delta)
                };
            }
        }
        _ => {}
    }
    delta.changed.member |= !equal(left, right);
    Ok(())
}

fn maps<'a>(
    left: Option<&'a Map<String, Value>>,
    right: Option<&'a Map<String, Value>>,
    ty: &MapType<'a>,
    delta: &mut Delta<'a>,
) -> Result<(), Problem> {
    let (mut l, mut r) = (
        left.into_iter().flatten().peekable(),
        right.into_iter().flatten().peekable(),
    );
    // What no schema declares was refused before; it is compared as it stands.
    let child = |key: &str| ty.child(key).unwrap_or(Ty::Deduced);
    loop {
        let order = match (l.peek(), r.peek()) {
            (None, None) => return Ok(()),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((lk, _)), Some((rk, _))) => lk.cmp(rk),
        };
        match (
            if order.is_le() { l.next() } else { None },
            if order.is_ge() { r.next() } else { None },
        ) {
            (Some((key, lv)), Some((_, rv))) => {
                let same_scalar = !lv.is_object() && !lv.is_array() && lv == rv;
                if !same_scalar {
                    let mut found = Delta::default();
                    both(lv, rv, child(key), &mut found)?;
                    put(delta, PathElement::field(key), found);
                }
            }
            (Some((key, lv)), None) => delta
                .removed
                .below
                .push_last(PathElement::field(key), whole(lv, child(key))?),
            (_, Some((key, rv))) => {
                let scalar = !rv.is_object() && !rv.is_array();
                let node = if scalar {
                    SetNode::leaf()
                } else {
                    whole(rv, child(key))?
                };
                delta.changed.below.push_last(PathElement::field(key), node);
            }
            (None, None) => return Ok(()),
        }
    }
}

fn put<'a>(delta: &mut Delta<'a>, step: PathElement<'a>, found: Delta<'a>) {
    if !found.removed.is_empty() {
        delta.removed.below.push_last(step.clone(), found.removed);
    }
    if !found.changed.is_empty() {
        delta.changed.below.push_last(step, found.changed);
    }
}

type Step<'a> = (PathElement<'a>, &'a Value);

/// Elements by their step, sorted; equal steps in the order of the list.
fn indexed<'a>(items: &'a [Value], ty: &List<'a>) -> Result<Vec<Step<'a>>, Problem> {
    let mut found = Vec::with_capacity(items.len());
    for (at, item) in items.iter().enumerate() {
        found.push((
            ty.step(item).map_err(|e| format!("element {at}: {e}"))?,
            item,
        ));
    }
    if !found.is_sorted_by(|a, b| a.0 <= b.0) {
        found.sort_by(|a, b| a.0.cmp(&b.0));
    }
    Ok(found)
}

fn lists<'a>(
    left: &'a [Value],
    right: &'a [Value],
    ty: &List<'a>,
    delta: &mut Delta<'a>,
) -> Result<(), Problem> {
    let (left, right) = (indexed(left, ty)?, indexed(right, ty)?);
    let (mut l, mut r) = (&left[..], &right[..]);
    while let Some((step, _)) = match (l.first(), r.first()) {
        (Some(a), Some(b)) => Some(if a.0 <= b.0 { a } else { b }),
        (a, b) => a.or(b),
    } {
        let same = |list: &[Step<'a>]| list.iter().take_while(|(s, _)| s == step).count();
        let (ln, rn) = (same(l), same(r));
        let found = elements(&l[..ln], &r[..rn], ty.element)?;
        put(delta, step.clone(), found);
        (l, r) = (&l[ln..], &r[rn..]);
    }
    Ok(())
}

/// Compares the elements of one step. Where it stands twice, all of them are one leaf.
fn elements<'a>(left: &[Step<'a>], right: &[Step<'a>], ty: Ty<'a>) -> Result<Delta<'a>, Problem> {
    let mut found = Delta::default();
    match (left, right) {
        ([(_, l)], [(_, r)]) => both(l, r, ty, &mut found)?,
        ([], [(_, r)]) => found.changed = whole(r, ty)?,
        ([(_, l)], []) => found.removed = whole(l, ty)?,
        ([_, _, ..], [_, _, ..]) => {
            found.changed.member =
                left.len() != right.len() || left.iter().zip(right).any(|(l, r)| !equal(l.1, r.1))
        }
        ([_, _, ..], _) => {
            found.removed.member = true;
            if let Some((_, r)) = right.first() {
                found.changed = whole(r, ty)?;
            }
        }
        (_, _) => {
            found.changed.member = true;
            if let Some((_, l)) = left.first() {
                found.removed = whole(l, ty)?;
            }
        }
    }
    Ok(found)
}
