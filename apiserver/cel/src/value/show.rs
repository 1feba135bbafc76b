//! Values as messages tell them, as Go's `%v` does.

use super::{Value, number, time};
use std::fmt;

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Uint(value) => write!(f, "{value}"),
            Value::Double(value) => f.write_str(&number::shortest(*value)),
            Value::String(text) => f.write_str(text),
            Value::Bytes(bytes) => write!(f, "{bytes:?}"),
            Value::Duration(nanos) => f.write_str(&time::duration_text(*nanos)),
            Value::Timestamp(at) => f.write_str(&at.text()),
            Value::List(list) => {
                f.write_str("[")?;
                for (i, item) in list.iter().enumerate() {
                    let separator = if i > 0 { ", " } else { "" };
                    match item {
                        Ok(item) => write!(f, "{separator}{item}")?,
                        Err(error) => write!(f, "{separator}{error}")?,
                    }
                }
                f.write_str("]")
            }
            Value::Map(map) => {
                f.write_str("{")?;
                for (i, key) in map.keys().iter().enumerate() {
                    let separator = if i > 0 { ", " } else { "" };
                    match map.get(key) {
                        Ok(Some(value)) => write!(f, "{separator}{key}: {value}")?,
                        Ok(None) => write!(f, "{separator}{key}")?,
                        Err(error) => write!(f, "{separator}{key}: {error}")?,
                    }
                }
                f.write_str("}")
            }
            Value::Optional(Some(value)) => write!(f, "optional({value})"),
            Value::Optional(None) => f.write_str("optional.none()"),
            Value::Type(name) => f.write_str(name),
            Value::Opaque(opaque) => match opaque.text() {
                Some(text) => f.write_str(&text),
                None => f.write_str(opaque.type_name()),
            },
            Value::Preserved(json) => write!(f, "{json}"),
            other => f.write_str(other.type_name()),
        }
    }
}
