//! Elements of sets and of lists with keys stand there once.
//!
//! Invariant: of several that are alike the second is told, the others are not.
//! Follows `apiextensions-apiserver/pkg/apiserver/schema/listtype/validation.go`.

use std::cmp::Ordering;

use serde_json::{Map, Number, Value};

use super::node::{ListType, Node};
use crate::machinery::field::{Errors, Path};

pub(super) fn validate(value: &Value, node: &Node, path: &Path, errors: &mut Errors) {
    if !node.body.keyed {
        return;
    }
    match value {
        Value::Object(map) => {
            if let Some(of) = node.additional() {
                for (name, child) in map {
                    validate(child, of, &path.key(name), errors);
                }
            }
            for (name, child) in map {
                if let Some(property) = node.property(name) {
                    validate(child, property, &path.child(name), errors);
                }
            }
        }
        Value::Array(items) => {
            match node.body.list_type {
                Some(ListType::Set) => {
                    for at in doubles(items.len(), |at| Key::Whole(&items[at])) {
                        errors.duplicate(&path.index(at), items[at].clone());
                    }
                }
                Some(ListType::Map) => keyed(items, node.list_map_keys(), path, errors),
                _ => {}
            }
            let Some(of) = node.items() else { return };
            for (at, item) in items.iter().enumerate() {
                validate(item, of, &path.index(at), errors);
            }
        }
        _ => {}
    }
}

fn keyed(items: &[Value], keys: &[Box<str>], path: &Path, errors: &mut Errors) {
    let odd = |item: &&Value| !item.is_null() && !item.is_object();
    if let Some(at) = items.iter().position(|item| odd(&item)) {
        let said = "must be an object for an array of list-type map";
        return errors.invalid(&path.index(at), items[at].clone(), said);
    }
    let found = match keys {
        [key] => doubles(items.len(), |at| match items[at].get(&**key) {
            Some(value) => Key::Whole(value),
            None => Key::Absent,
        }),
        keys => doubles(items.len(), |at| Key::Of(&items[at], keys)),
    };
    for at in found {
        let values = keys.iter().filter_map(|key| {
            let value = items[at].get(&**key)?;
            Some((String::from(&**key), value.clone()))
        });
        let shown: Map<String, Value> = values.collect();
        errors.duplicate(&path.index(at), Value::Object(shown));
    }
}

/// By what an element is told from others.
#[derive(Clone, Copy)]
enum Key<'v> {
    Absent,
    Whole(&'v Value),
    /// These fields of it.
    Of(&'v Value, &'v [Box<str>]),
}

/// Up to so many elements are compared each with each, which needs no memory.
const FEW: usize = 16;

/// The places of those that are the second of their kind, in order.
fn doubles<'v>(length: usize, key: impl Fn(usize) -> Key<'v>) -> Vec<usize> {
    let same = |a: usize, b: usize| compare(key(a), key(b)).is_eq();
    if length <= FEW {
        let second = |at: &usize| (0..*at).filter(|before| same(*before, *at)).count() == 1;
        return (1..length).filter(second).collect();
    }
    let mut order: Vec<usize> = (0..length).collect();
    order.sort_by(|a, b| compare(key(*a), key(*b)));
    let runs = order.chunk_by(|a, b| same(*a, *b));
    let mut found: Vec<usize> = runs.filter_map(|run| run.get(1).copied()).collect();
    found.sort_unstable();
    found
}

fn compare(a: Key, b: Key) -> Ordering {
    match (a, b) {
        (Key::Whole(a), Key::Whole(b)) => {
            // a whole number is another value than the same one with a fraction, unless both stand within something
            let inner = a.is_object() || a.is_array();
            order(a, b, inner)
        }
        (Key::Of(a, keys), Key::Of(b, _)) => keys
            .iter()
            .map(|key| match (a.get(&**key), b.get(&**key)) {
                (Some(a), Some(b)) => order(a, b, true),
                (a, b) => a.is_some().cmp(&b.is_some()),
            })
            .find(|order| order.is_ne())
            .unwrap_or(Ordering::Equal),
        (a, b) => matches!(a, Key::Whole(_)).cmp(&matches!(b, Key::Whole(_))),
    }
}

fn rank(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        Value::String(_) => 3,
        Value::Array(_) => 4,
        Value::Object(_) => 5,
    }
}

/// A total order; `written`: numbers are the same when they are written alike.
fn order(a: &Value, b: &Value, written: bool) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => numbers(a, b, written),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let items = a.iter().zip(b).map(|(a, b)| order(a, b, true));
            let first = { items }.find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let entries = a.iter().zip(b);
            let entries = entries.map(|(a, b)| a.0.cmp(b.0).then_with(|| order(a.1, b.1, true)));
            let first = { entries }.find(|order| order.is_ne());
            first.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (a, b) => rank(a).cmp(&rank(b)),
    }
}

fn numbers(a: &Number, b: &Number, written: bool) -> Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        (x, y) => {
            let float = |number: &Number| number.as_f64().unwrap_or(f64::NAN);
            let order = float(a).total_cmp(&float(b));
            if written {
                order
            } else {
                order.then_with(|| x.is_some().cmp(&y.is_some()))
            }
        }
    }
}
