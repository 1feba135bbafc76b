//! Values: what expressions are given and make.
//!
//! Invariant: JSON is never copied to be asked: a value of it borrows the tree and knows its declared type; its parts become values when somebody looks.
//! Follows upstream's `vendor/github.com/google/cel-go/common/types` and `staging/src/k8s.io/apiserver/pkg/cel/common/valuesunstructured.go`.

pub mod convert;
pub mod equal;
mod json;
mod list;
mod map;
pub mod number;
mod show;
pub mod time;

pub use json::{JsonList, JsonMap, from_json, from_json_as};
pub use list::{Items, List};
pub use map::{Key, Map};
pub use time::Timestamp;

use crate::error::EvalError;
use crate::types::Type;
use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

/// A value. `'a` is the life of the JSON and of the program that it was made of.
#[derive(Clone, Debug)]
pub enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Text<'a>),
    Bytes(Arc<[u8]>),
    /// In nanoseconds.
    Duration(i64),
    Timestamp(Timestamp),
    List(List<'a>),
    Map(Map<'a>),
    Optional(Option<Arc<Value<'a>>>),
    Type(Arc<str>),
    /// What a literal of an object type makes.
    Struct(Arc<Struct<'a>>),
    /// The object of the expressions of an [`crate::Activation`], which are evaluated when they are asked for.
    Lazy,
    /// What a library knows of.
    Opaque(Arc<dyn Opaque>),
    /// JSON that no schema names: it can be compared alone.
    Preserved(&'a serde_json::Value),
}

/// A value, or why there is none.
pub type Outcome<'a> = Result<Value<'a>, EvalError>;

/// A text, borrowed or shared.
#[derive(Clone, Debug)]
pub enum Text<'a> {
    Borrowed(&'a str),
    Shared(Arc<str>),
}

#[derive(Debug)]
pub struct Struct<'a> {
    pub name: Arc<str>,
    /// In the order in which they were written.
    pub fields: Vec<(Arc<str>, Value<'a>)>,
}

/// A value of a library.
pub trait Opaque: Any + Debug + Send + Sync {
    /// The name of its type.
    fn type_name(&self) -> &'static str;

    /// Whether it equals another value; `None` where they cannot be compared.
    fn equals(&self, other: &dyn Opaque) -> Option<bool>;

    /// What `size()` would be, for the cost alone.
    fn size(&self) -> Option<u64> {
        None
    }

    /// For what holds texts to a pattern: how long that is at most, for the cost of it.
    fn pattern_size(&self) -> Option<u64> {
        None
    }

    /// How it reads as JSON or in a text, if it does.
    fn text(&self) -> Option<String> {
        None
    }

    fn as_any(&self) -> &dyn Any;
}

impl Text<'_> {
    pub fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Shared(text) => text,
        }
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

impl<'a> Value<'a> {
    /// A text of its own.
    pub fn string(text: impl Into<Arc<str>>) -> Value<'a> {
        Value::String(Text::Shared(text.into()))
    }

    /// A text that somebody else has.
    pub fn str(text: &'a str) -> Value<'a> {
        Value::String(Text::Borrowed(text))
    }

    pub fn list(values: Vec<Value<'a>>) -> Value<'a> {
        Value::List(List::of(values))
    }

    /// An optional with a value.
    pub fn some(value: Value<'a>) -> Value<'a> {
        Value::Optional(Some(Arc::new(value)))
    }

    /// An optional without one.
    pub fn none() -> Value<'a> {
        Value::Optional(None)
    }

    pub fn opaque(value: impl Opaque) -> Value<'a> {
        Value::Opaque(Arc::new(value))
    }

    /// What a library made, if it is of the type.
    pub fn as_opaque<T: Opaque>(&self) -> Option<&T> {
        match self {
            Value::Opaque(opaque) => opaque.as_any().downcast_ref(),
            _ => None,
        }
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Value::Bool(value) => Some(*value),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self {
            Value::Int(value) => Some(*value),
            _ => None,
        }
    }

    /// The name of its type, as `type()` gives it and errors tell it.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Null => Type::Null.name(),
            Value::Bool(_) => Type::Bool.name(),
            Value::Int(_) => Type::Int.name(),
            Value::Uint(_) => Type::Uint.name(),
            Value::Double(_) => Type::Double.name(),
            Value::String(_) => Type::String.name(),
            Value::Bytes(_) => Type::Bytes.name(),
            Value::Duration(_) => Type::Duration.name(),
            Value::Timestamp(_) => Type::Timestamp.name(),
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Optional(_) => crate::types::OPTIONAL,
            Value::Type(_) => "type",
            Value::Struct(object) => &object.name,
            Value::Lazy => "object",
            Value::Opaque(opaque) => opaque.type_name(),
            Value::Preserved(_) => "unknown",
        }
    }

    /// Whether it may be given where a type is declared. Elements are looked at by the first of them, as upstream does.
    pub(crate) fn is_of(&self, ty: &Type) -> bool {
        match ty {
            Type::Dyn | Type::Any | Type::Param(_) | Type::Var(_) => true,
            Type::List(of) => match self {
                Value::List(list) => match list.get(0) {
                    Some(Ok(first)) => first.is_of(of),
                    Some(Err(_)) => false,
                    None => true,
                },
                _ => false,
            },
            Type::Map(of) => match self {
                Value::Map(map) => match map.first() {
                    Some((key, Ok(value))) => key.is_of(&of.0) && value.is_of(&of.1),
                    Some((_, Err(_))) => false,
                    None => true,
                },
                _ => false,
            },
            other => self.type_name() == other.name(),
        }
    }

    /// Whether it is the zero of its type: `optional.ofNonZeroValue` takes it for none.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Int(value) | Value::Duration(value) => *value == 0,
            Value::Uint(value) => *value == 0,
            Value::Double(value) => *value == 0.0,
            Value::String(text) => text.is_empty(),
            Value::Bytes(bytes) => bytes.is_empty(),
            Value::Timestamp(at) => at.is_zero(),
            Value::List(List::Items(items)) => items.values.is_empty(),
            Value::Map(Map::Entries(entries)) => entries.is_empty(),
            _ => false,
        }
    }

    /// What `size()` gives, for the cost: 1 for what has none.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Value::String(text) => characters(text) as u64,
            Value::Bytes(bytes) => bytes.len() as u64,
            Value::List(list) => list.len() as u64,
            Value::Map(map) => map.len() as u64,
            Value::Optional(Some(value)) => value.size(),
            Value::Opaque(opaque) => opaque.size().unwrap_or(1),
            _ => 1,
        }
    }
}

/// How many characters a text has.
pub(crate) fn characters(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().count()
    }
}
