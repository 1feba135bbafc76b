//! Which values are equal.
//!
//! Invariant: numbers are equal across their types; `null` equals `null` alone. Declared lists and maps cannot be compared with what is neither, made ones
//! just differ. Follows `Equal` in upstream's `vendor/github.com/google/cel-go/common/types` and
//! `staging/src/k8s.io/apiserver/pkg/cel/common/valuesunstructured.go`.

use super::json::JsonMap;
use super::number::{self, Compared};
use super::{Key, List, Map, Value};
use crate::declared::ListKind;
use crate::error::EvalError;
use serde_json::Value as Json;
use std::cmp::Ordering;

impl<'a> Value<'a> {
    /// # Errors
    /// Values that cannot be compared, or data that does not fit its declared type.
    pub fn equals(&self, other: &Value<'a>) -> Result<bool, EvalError> {
        Ok(match (self, other) {
            (Value::Null, other) | (other, Value::Null) => matches!(other, Value::Null),
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::String(a), Value::String(b)) => a == b,
            (Value::Bytes(a), Value::Bytes(b)) => a == b,
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a.same_moment(b),
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::List(a), Value::List(b)) => return lists(a, b),
            (Value::List(list), _) if list.kind().is_some() => {
                return Err(EvalError::no_such_overload());
            }
            (Value::Map(a), Value::Map(b)) => return maps(a, b),
            (Value::Map(Map::Json(map)), _) if map.is_declared() => {
                return Err(EvalError::no_such_overload());
            }
            (Value::Optional(a), Value::Optional(b)) => match (a, b) {
                (Some(a), Some(b)) => return a.equals(b),
                (a, b) => a.is_none() && b.is_none(),
            },
            (Value::Opaque(a), Value::Opaque(b)) => {
                return a.equals(&**b).ok_or_else(EvalError::no_such_overload);
            }
            (Value::Opaque(_), _) => return Err(EvalError::no_such_overload()),
            (Value::Preserved(a), other) | (other, Value::Preserved(a)) => {
                raw(other).is_some_and(|b| **a == b)
            }
            (Value::Struct(a), Value::Struct(b)) => {
                if a.name != b.name || a.fields.len() != b.fields.len() {
                    return Ok(false);
                }
                for (name, value) in &a.fields {
                    match b.fields.iter().find(|(other, _)| other == name) {
                        Some((_, other)) if value.equals(other)? => {}
                        _ => return Ok(false),
                    }
                }
                true
            }
            (a, b) => number::compare(a, b) == Compared::Ordered(Ordering::Equal),
        })
    }

    /// Whether they are equal for sure.
    pub(crate) fn same(&self, other: &Value<'a>) -> bool {
        matches!(self.equals(other), Ok(true))
    }

    /// Whether the properties that identify an element are the same in both.
    fn same_keys(&self, other: &Value<'a>, keys: &[String]) -> Result<bool, EvalError> {
        for key in keys {
            let same = match (property(self, key)?, property(other, key)?) {
                (Some(a), Some(b)) => a.same(&b),
                (a, b) => a.is_none() && b.is_none(),
            };
            if !same {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// Which of the elements of a list has the same keys as another.
///
/// # Errors
/// Keys that do not fit their declared types.
pub(crate) fn by_keys<'a>(
    elements: &[Value<'a>],
    other: &Value<'a>,
    keys: &[String],
) -> Result<Option<usize>, EvalError> {
    for (at, element) in elements.iter().enumerate() {
        if element.same_keys(other, keys)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}

fn property<'a>(value: &Value<'a>, key: &str) -> Result<Option<Value<'a>>, EvalError> {
    match value {
        Value::Map(Map::Json(map)) => map.raw(key).transpose(),
        Value::Map(map) => map.field(key),
        _ => Ok(None),
    }
}

/// The JSON below a value that no schema describes.
fn raw(value: &Value<'_>) -> Option<Json> {
    match value {
        Value::Preserved(json) => Some((*json).clone()),
        other => super::convert::to_json(other).ok(),
    }
}

fn lists<'a>(a: &List<'a>, b: &List<'a>) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a.kind() {
        None => {
            for (x, y) in a.iter().zip(b.iter()) {
                // what cannot be compared does not make two made lists differ
                if matches!(x?.equals(&y?), Ok(false)) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Some(ListKind::Atomic) => {
            for (x, y) in a.iter().zip(b.iter()) {
                if !x?.equals(&y?)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Some(ListKind::Set) => {
            let known = a.values()?;
            for y in b.iter() {
                let y = y?;
                if !known.iter().any(|x| x.same(&y)) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Some(ListKind::Map(keys)) => {
            let known = a.values()?;
            for y in b.iter() {
                let y = y?;
                match by_keys(&known, &y, keys)? {
                    Some(at) if known[at].equals(&y)? => {}
                    _ => return Ok(false),
                }
            }
            Ok(true)
        }
    }
}

fn maps<'a>(a: &Map<'a>, b: &Map<'a>) -> Result<bool, EvalError> {
    if a.len() != b.len() {
        return Ok(false);
    }
    match a {
        Map::Json(a) if a.is_declared() => objects(a, b),
        Map::Json(a) => {
            for (key, _) in a.raw_keys() {
                let (x, y) = (a.raw(key).transpose()?, b.field(key)?);
                if !pair(x, y) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        Map::Entries(entries) => {
            for (key, x) in entries.iter() {
                let y = match (key, b) {
                    (Key::String(text), _) => b.field(text)?,
                    (_, Map::Json(_)) => None,
                    _ => b.get(&key.value())?,
                };
                if !pair(Some(x.clone()), y) {
                    return Ok(false);
                }
            }
            Ok(true)
        }
    }
}

fn pair<'a>(x: Option<Value<'a>>, y: Option<Value<'a>>) -> bool {
    match (x, y) {
        (Some(x), Some(y)) => !matches!(x.equals(&y), Ok(false)),
        _ => false,
    }
}

/// Objects of declared types: what the type names by its types, the rest as JSON.
fn objects<'a>(a: &JsonMap<'a>, b: &Map<'a>) -> Result<bool, EvalError> {
    for (key, known) in a.raw_keys() {
        let other = match b {
            Map::Json(other) => other.raw(key).transpose()?,
            other => other.field(key)?,
        };
        if known {
            match (a.raw(key).transpose()?, other) {
                (None, None) => {}
                (Some(x), Some(y)) => {
                    if !x.equals(&y)? {
                        return Ok(false);
                    }
                }
                _ => return Ok(false),
            }
            continue;
        }
        let Map::Json(other) = b else {
            return Err(EvalError::no_such_overload());
        };
        if let Some(y) = other.json().get(key)
            && a.json().get(key) != Some(y)
        {
            return Ok(false);
        }
    }
    Ok(true)
}
