//! JSON as values, by its declared type or by what it is.
//!
//! Invariant: reading a part looks at that part alone. The words for data that does not fit are upstream's
//! (`staging/src/k8s.io/apiserver/pkg/cel/common/valuesunstructured.go`).

use super::{List, Map, Text, Timestamp, Value, convert, time};
use crate::declared::{Declared, ListKind, Shape};
use crate::error::EvalError;
use crate::escape;
use crate::quote::GoTimeQuoted;
use serde_json::Value as Json;
use std::borrow::Cow;

/// A list of JSON.
#[derive(Clone, Copy, Debug)]
pub struct JsonList<'a> {
    json: &'a Json,
    of: Option<&'a Declared>,
}

/// An object of JSON: a map, or an object with properties.
#[derive(Clone, Copy, Debug)]
pub struct JsonMap<'a> {
    json: &'a Json,
    of: Option<&'a Declared>,
}

/// JSON as what it is: numbers without a fraction are ints.
pub fn from_json(json: &Json) -> Value<'_> {
    match json {
        Json::Null => Value::Null,
        Json::Bool(value) => Value::Bool(*value),
        Json::Number(number) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        },
        Json::String(text) => Value::str(text),
        Json::Array(_) => Value::List(List::Json(JsonList { json, of: None })),
        Json::Object(_) => Value::Map(Map::Json(JsonMap { json, of: None })),
    }
}

/// JSON as its declared type says.
///
/// # Errors
/// Data that is not of the type.
pub fn from_json_as<'a>(json: &'a Json, of: &'a Declared) -> Result<Value<'a>, EvalError> {
    if json.is_null() {
        return match of.shape {
            Shape::Dyn | Shape::Untyped => Ok(Value::Null),
            _ if of.nullable => Ok(Value::Null),
            _ => wrong("invalid data, got null for schema with nullable=false"),
        };
    }
    Ok(match (&of.shape, json) {
        (Shape::Dyn, _) => from_json(json),
        (Shape::Untyped, _) => untyped(json, of),
        (Shape::IntOrString, Json::String(text)) => Value::str(text),
        (Shape::IntOrString, Json::Number(number)) if number.is_i64() => from_json(json),
        (Shape::IntOrString, _) => {
            return wrong(
                "invalid data, expected XIntOrString value to be either a string or integer",
            );
        }
        (Shape::Object(_) | Shape::Map(_) | Shape::Unknown, Json::Object(_)) => {
            Value::Map(Map::Json(JsonMap { json, of: Some(of) }))
        }
        (Shape::Object(_) | Shape::Map(_) | Shape::Unknown, _) => {
            return wrong("invalid data, expected a map for the provided schema with type=object");
        }
        (Shape::List { .. }, Json::Array(_)) => {
            Value::List(List::Json(JsonList { json, of: Some(of) }))
        }
        (Shape::List { .. }, _) => {
            return wrong(
                "invalid data, expected an array for the provided schema with type=array",
            );
        }
        (Shape::Double, Json::Number(number)) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        (Shape::Double, _) => return unexpected("float", json),
        (Shape::Int, Json::Number(number)) => match number.as_i64() {
            Some(value) => Value::Int(value),
            None => return unexpected("int", json),
        },
        (Shape::Int, _) => return unexpected("int", json),
        (Shape::Bool, Json::Bool(value)) => Value::Bool(*value),
        (Shape::Bool, _) => return unexpected("bool", json),
        (Shape::Preserved, _) => Value::Preserved(json),
        (shape, Json::String(text)) => return text_as(shape, text),
        _ => return unexpected("string", json),
    })
}

fn untyped<'a>(json: &'a Json, of: &'a Declared) -> Value<'a> {
    match json {
        Json::Number(number) => Value::Double(number.as_f64().unwrap_or(f64::NAN)),
        Json::Array(_) => Value::List(List::Json(JsonList { json, of: Some(of) })),
        Json::Object(_) => Value::Map(Map::Json(JsonMap { json, of: Some(of) })),
        other => from_json(other),
    }
}

/// A text by its format.
fn text_as<'a>(shape: &Shape, text: &'a str) -> Result<Value<'a>, EvalError> {
    match shape {
        Shape::Duration => match time::parse_long_duration(text) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => wrong(format!(
                "Invalid duration {text}: unable to parse {text} as duration"
            )),
        },
        Shape::Date => match Timestamp::parse_date(text) {
            Some(at) => Ok(Value::Timestamp(at)),
            None => wrong(format!(
                "Invalid date formatted string {text}: parsing time {} as \"2006-01-02\"",
                GoTimeQuoted(text)
            )),
        },
        Shape::DateTime => match Timestamp::parse_loosely(text) {
            Some(at) => Ok(Value::Timestamp(at)),
            None => wrong(format!("Invalid date-time formatted string {text}")),
        },
        Shape::Bytes => match convert::base64(text) {
            Some(bytes) => Ok(Value::Bytes(bytes.into())),
            None => wrong(format!("Invalid byte formatted string {text}")),
        },
        _ => Ok(Value::str(text)),
    }
}

fn wrong<T>(message: impl Into<Cow<'static, str>>) -> Result<T, EvalError> {
    Err(EvalError::new(message))
}

/// Go's name for what was found instead.
fn unexpected<T>(wanted: &str, json: &Json) -> Result<T, EvalError> {
    let found = match json {
        Json::Null => "<nil>",
        Json::Bool(_) => "bool",
        Json::Number(number) if number.is_i64() => "int64",
        Json::Number(_) => "float64",
        Json::String(_) => "string",
        Json::Array(_) => "[]interface {}",
        Json::Object(_) => "map[string]interface {}",
    };
    wrong(format!("invalid data, expected {wanted}, got {found}"))
}

impl<'a> JsonList<'a> {
    pub fn items(&self) -> &'a [Json] {
        match self.json {
            Json::Array(items) => items,
            _ => &[],
        }
    }

    pub fn get(&self, index: usize) -> Option<Result<Value<'a>, EvalError>> {
        let json = self.items().get(index)?;
        Some(match self.of.and_then(Declared::element) {
            Some(of) => from_json_as(json, of),
            None => Ok(from_json(json)),
        })
    }

    pub fn kind(&self) -> Option<&'a ListKind> {
        match &self.of?.shape {
            Shape::List { kind, .. } => Some(kind),
            _ => None,
        }
    }
}

impl<'a> JsonMap<'a> {
    pub fn json(&self) -> &'a Json {
        self.json
    }

    fn entries(&self) -> Option<&'a serde_json::Map<String, Json>> {
        self.json.as_object()
    }

    pub(super) fn len(&self) -> usize {
        self.entries().map_or(0, serde_json::Map::len)
    }

    pub fn is_declared(&self) -> bool {
        self.of.is_some()
    }

    /// How a property is read: `None` of those that the type does not name.
    fn property(&self, name: &str) -> Option<&'a Declared> {
        match &self.of?.shape {
            Shape::Object(properties) => properties.get(name).map(|p| &*p.declared),
            Shape::Map(values) => Some(values),
            Shape::Untyped => self.of,
            _ => None,
        }
    }

    fn is_object(&self) -> bool {
        self.of
            .is_some_and(|of| matches!(of.shape, Shape::Object(_)))
    }

    /// The value that an expression knows by `name`.
    pub fn get(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        let entries = self.entries()?;
        if self.of.is_none() {
            return entries.get(name).map(|json| Ok(from_json(json)));
        }
        let object = self.is_object();
        let name = match self.of.map(|of| &of.shape) {
            Some(Shape::Object(_)) => escape::unescape(name)?,
            // a name that is not escaped as it should be is a name all the same
            Some(Shape::Untyped) => escape::unescape(name).unwrap_or(Cow::Borrowed(name)),
            _ => Cow::Borrowed(name),
        };
        let json = entries.get(&*name)?;
        if object && json.is_null() {
            return None;
        }
        let of = self.property(&name)?;
        Some(from_json_as(json, of))
    }

    pub fn keys(&self) -> Vec<Value<'a>> {
        let Some(entries) = self.entries() else {
            return Vec::new();
        };
        if self.of.is_none() {
            return entries.keys().map(|key| Value::str(key)).collect();
        }
        let object = self.is_object();
        let known = entries.keys().filter(|key| self.property(key).is_some());
        known
            .map(|key| match escape::escape(key) {
                Some(Cow::Owned(escaped)) if object => Value::String(Text::Shared(escaped.into())),
                _ => Value::str(key),
            })
            .collect()
    }

    /// The keys as JSON has them, and whether the type names each.
    pub fn raw_keys(&self) -> impl Iterator<Item = (&'a str, bool)> + '_ {
        let entries = self.entries().into_iter().flatten();
        entries.map(|(key, _)| {
            (
                key.as_str(),
                self.of.is_none() || self.property(key).is_some(),
            )
        })
    }

    /// A value by the key that JSON has. `null`s of objects are none.
    pub fn raw(&self, key: &str) -> Option<Result<Value<'a>, EvalError>> {
        let json = self.entries()?.get(key)?;
        if self.is_object() && json.is_null() {
            return None;
        }
        match (self.of, self.property(key)) {
            (None, _) => Some(Ok(from_json(json))),
            (Some(_), Some(of)) => Some(from_json_as(json, of)),
            (Some(_), None) => None,
        }
    }
}
