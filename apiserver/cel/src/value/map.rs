//! Maps: made by an expression, or of JSON.
//!
//! Invariant: numbers are one key whatever type they are of: `1` finds `1u`.

use super::json::JsonMap;
use super::number;
use super::{Text, Value};
use crate::error::EvalError;
use crate::types::Type;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub enum Map<'a> {
    Entries(Arc<BTreeMap<Key<'a>, Value<'a>>>),
    Json(JsonMap<'a>),
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Text<'a>),
}

impl<'a> Key<'a> {
    /// The key that a value is.
    pub fn of(value: &Value<'a>) -> Option<Key<'a>> {
        Some(match value {
            Value::Bool(value) => Key::Bool(*value),
            Value::Int(value) => Key::Int(*value),
            Value::Uint(value) => Key::Uint(*value),
            Value::String(text) => Key::String(text.clone()),
            Value::Double(value) => Key::Int(number::whole(*value)?),
            _ => return None,
        })
    }

    pub fn value(&self) -> Value<'a> {
        match self {
            Key::Bool(value) => Value::Bool(*value),
            Key::Int(value) => Value::Int(*value),
            Key::Uint(value) => Value::Uint(*value),
            Key::String(text) => Value::String(text.clone()),
        }
    }

    pub(crate) fn is_of(&self, ty: &Type) -> bool {
        self.value().is_of(ty)
    }

    /// The same number as the other type of numbers.
    fn other(&self) -> Option<Key<'a>> {
        match self {
            Key::Int(value) => u64::try_from(*value).ok().map(Key::Uint),
            Key::Uint(value) => i64::try_from(*value).ok().map(Key::Int),
            _ => None,
        }
    }
}

impl<'a> Map<'a> {
    pub fn of(entries: BTreeMap<Key<'a>, Value<'a>>) -> Map<'a> {
        Map::Entries(Arc::new(entries))
    }

    pub fn len(&self) -> usize {
        match self {
            Map::Entries(entries) => entries.len(),
            Map::Json(json) => json.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value of a key that is a text, as `map.key` asks for it.
    pub fn field(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Map::Json(json) => json.get(name).transpose(),
            Map::Entries(entries) => {
                let key = Key::String(Text::Borrowed(name));
                Ok(lookup(entries, &key).cloned())
            }
        }
    }

    /// The value of a key, if there is one.
    ///
    /// # Errors
    /// A key that maps of JSON cannot have, or a value that does not fit its declared type.
    pub fn get(&self, key: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Map::Json(json) => match key {
                Value::String(name) => json.get(name).transpose(),
                _ if json.is_declared() => Err(EvalError::no_such_overload()),
                _ => Ok(None),
            },
            Map::Entries(entries) => {
                let Some(key) = Key::of(key) else {
                    return Ok(None);
                };
                let found = lookup(entries, &key);
                let found = match (found, key.other()) {
                    (None, Some(other)) => lookup(entries, &other),
                    (found, _) => found,
                };
                Ok(found.cloned())
            }
        }
    }

    /// The keys, as a loop sees them.
    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Map::Entries(entries) => entries.keys().map(Key::value).collect(),
            Map::Json(json) => json.keys(),
        }
    }

    pub(crate) fn first(&self) -> Option<(Key<'a>, Result<Value<'a>, EvalError>)> {
        match self {
            Map::Entries(entries) => {
                let (key, value) = entries.first_key_value()?;
                Some((key.clone(), Ok(value.clone())))
            }
            Map::Json(json) => {
                let key = json.keys().into_iter().next()?;
                let value = self.get(&key).transpose()?;
                Some((Key::of(&key)?, value))
            }
        }
    }
}

/// A key as it is compared, whatever it lives in: so that one can be looked for that lives shorter than the map.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum View<'v> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(&'v str),
}

trait Viewed {
    fn view(&self) -> View<'_>;
}

impl Viewed for Key<'_> {
    fn view(&self) -> View<'_> {
        match self {
            Key::Bool(value) => View::Bool(*value),
            Key::Int(value) => View::Int(*value),
            Key::Uint(value) => View::Uint(*value),
            Key::String(text) => View::String(text),
        }
    }
}

impl<'k, 'a: 'k> Borrow<dyn Viewed + 'k> for Key<'a> {
    fn borrow(&self) -> &(dyn Viewed + 'k) {
        self
    }
}

impl PartialEq for dyn Viewed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.view() == other.view()
    }
}

impl Eq for dyn Viewed + '_ {}

impl PartialOrd for dyn Viewed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for dyn Viewed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.view().cmp(&other.view())
    }
}

fn lookup<'m, 'a>(
    entries: &'m BTreeMap<Key<'a>, Value<'a>>,
    key: &Key<'_>,
) -> Option<&'m Value<'a>> {
    entries.get(key as &dyn Viewed)
}
