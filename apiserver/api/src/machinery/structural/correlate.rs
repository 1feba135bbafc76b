//! What a value was before: elements of lists with keys are found by them, other elements have no past of their own.
//!
//! Invariant: lists with keys are the same when each element is what it was, wherever it stood; all else is the same when it is equal.
//! Follows `apiserver/pkg/cel/common/{equality,maplist}.go`.

use std::collections::HashMap;

use serde_json::Value;

use super::node::{Kind, ListType, Node};

/// A value, what it was, and what it is to be.
#[derive(Debug, Clone, Copy)]
pub struct Correlated<'v> {
    pub node: &'v Node,
    pub new: &'v Value,
    pub old: &'v Value,
}

impl<'v> Correlated<'v> {
    /// The value of a field that was there before, and of which the schema says what it is.
    pub fn key(&self, name: &str) -> Option<Correlated<'v>> {
        let (new, old) = (self.new.as_object()?, self.old.as_object()?);
        Some(Correlated {
            new: new.get(name)?,
            old: old.get(name)?,
            node: self.node.child(name)?,
        })
    }

    /// The elements of the list that it was.
    pub fn items(&self) -> OldItems<'v> {
        OldItems::new(self.node, self.old)
    }

    /// An element, what it was being found among `items`.
    pub fn index(&self, items: &OldItems<'v>, at: usize) -> Option<Correlated<'v>> {
        let new = self.new.as_array()?.get(at)?;
        Some(Correlated {
            new,
            old: items.get(new)?,
            node: self.node.items()?,
        })
    }

    /// Whether it is what it was.
    pub fn unchanged(&self) -> bool {
        match (self.new, self.old) {
            (Value::Array(new), Value::Array(old)) => {
                if new.len() != old.len() {
                    return false;
                }
                if self.node.body.list_type != Some(ListType::Map) {
                    return new == old;
                }
                let items = self.items();
                (0..new.len()).all(|at| {
                    let item = self.index(&items, at);
                    item.is_some_and(|item| item.unchanged())
                })
            }
            (Value::Object(new), Value::Object(old)) => {
                // a field that the schema does not speak of is not known to be the same
                new.len() == old.len()
                    && new
                        .keys()
                        .all(|name| self.key(name).is_some_and(|field| field.unchanged()))
            }
            (new, old) => new == old,
        }
    }
}

/// Up to so many elements are searched one after the other.
const FEW: usize = 16;

/// The elements of a list, to be found by their keys; of other lists none is found.
#[derive(Debug)]
pub struct OldItems<'v> {
    keys: &'v [Box<str>],
    items: &'v [Value],
    by_key: Option<HashMap<Vec<Scalar<'v>>, &'v Value>>,
}

/// The value of a key.
#[derive(Debug, PartialEq, Eq, Hash)]
enum Scalar<'v> {
    Bool(bool),
    Int(i64),
    Float(u64),
    Text(&'v str),
}

impl<'v> Scalar<'v> {
    fn of(value: &'v Value) -> Option<Scalar<'v>> {
        Some(match value {
            Value::Bool(on) => Scalar::Bool(*on),
            Value::String(text) => Scalar::Text(text),
            Value::Number(number) => match number.as_i64() {
                Some(number) => Scalar::Int(number),
                None => Scalar::Float(number.as_f64()?.to_bits()),
            },
            _ => return None,
        })
    }
}

impl<'v> OldItems<'v> {
    pub fn new(node: &'v Node, list: &'v Value) -> OldItems<'v> {
        let keyed = node.body.kind == Kind::Array && node.body.list_type == Some(ListType::Map);
        let mut found = OldItems {
            keys: node.list_map_keys(),
            items: list.as_array().filter(|_| keyed).map_or(&[], Vec::as_slice),
            by_key: None,
        };
        if found.keys.is_empty() {
            found.items = &[];
        }
        if found.items.len() > FEW {
            let mut by_key = HashMap::with_capacity(found.items.len());
            for item in found.items {
                if let Some(key) = found.key(item) {
                    by_key.entry(key).or_insert(item);
                }
            }
            found.by_key = Some(by_key);
        }
        found
    }

    /// Its keys' values, when it has them all.
    fn key(&self, item: &'v Value) -> Option<Vec<Scalar<'v>>> {
        let item = item.as_object()?;
        self.keys
            .iter()
            .map(|key| item.get(&**key).and_then(Scalar::of))
            .collect()
    }

    /// The first element with the keys of this one.
    pub fn get(&self, item: &'v Value) -> Option<&'v Value> {
        if let Some(by_key) = &self.by_key {
            return by_key.get(&self.key(item)?).copied();
        }
        let new = item.as_object()?;
        self.items.iter().find(|old| {
            self.keys.iter().all(|key| {
                let of = |value: Option<&'v Value>| value.and_then(Scalar::of);
                let old = old.as_object().and_then(|old| old.get(&**key));
                let new = of(new.get(&**key));
                new.is_some() && new == of(old)
            })
        })
    }
}
