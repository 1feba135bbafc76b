//! Taking a set of paths out of an object.
//!
//! Invariant: a struct, map or list that something was taken out of stays, though it be empty.
//! Follows `sigs.k8s.io/structured-merge-diff/v6/typed/remove.go` as of v6.3.2.

use serde_json::{Map, Value};

use super::element::PathElement;
use super::set::{Set, SetNode};
use super::types::{Atom, Ty};

/// The value without the paths of the set.
pub(super) fn remove(value: &Value, paths: &Set<'_>, ty: Ty<'_>) -> Value {
    if paths.is_empty() {
        return value.clone();
    }
    match ty.atom(Some(value)) {
        Atom::Scalar(_) => value.clone(),
        Atom::List(list) if !list.atomic => {
            let mut touched = false;
            let mut kept = Vec::new();
            for item in value.as_array().into_iter().flatten() {
                let found = list.step(item).ok();
                match found.as_ref().and_then(|step| paths.get(step)) {
                    Some(SetNode { member: true, .. }) => {}
                    Some(node) => {
                        touched = true;
                        kept.push(inner(item, &node.below, list.element));
                    }
                    None => kept.push(item.clone()),
                }
            }
            if kept.is_empty() && !touched {
                Value::Null
            } else {
                Value::Array(kept)
            }
        }
        Atom::Map(map) if !map.atomic => {
            let mut touched = false;
            let mut kept = Map::new();
            for (key, child) in value.as_object().into_iter().flatten() {
                match paths.get(&PathElement::field(key)) {
                    Some(SetNode { member: true, .. }) => {}
                    Some(node) => {
                        touched = true;
                        kept.insert(
                            key.clone(),
                            inner(child, &node.below, map.child(key).unwrap_or(Ty::Deduced)),
                        );
                    }
                    None => {
                        kept.insert(key.clone(), child.clone());
                    }
                }
            }
            if kept.is_empty() && !touched {
                Value::Null
            } else {
                Value::Object(kept)
            }
        }
        // What is owned as a whole has nothing below that could be taken out alone.
        _ => Value::Null,
    }
}

/// As [`remove`], where an emptied list or map stays.
fn inner(value: &Value, paths: &Set<'_>, ty: Ty<'_>) -> Value {
    match (remove(value, paths, ty), value) {
        (Value::Null, Value::Object(_)) => Value::Object(Map::new()),
        (Value::Null, Value::Array(_)) => Value::Array(Vec::new()),
        (other, _) => other,
    }
}
