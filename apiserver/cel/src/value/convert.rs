//! Conversions between types, as the functions named after types make them.
//!
//! Invariant: what cannot be converted says so in upstream's words (`vendor/github.com/google/cel-go/common/types/*.go`, `ConvertToType`).

use super::{Map, Text, Timestamp, Value, number, time};
use crate::ast::Literal;
use crate::error::EvalError;
use crate::types::Type;
use crate::value::Outcome;
use base64::Engine;
use base64::engine::{GeneralPurpose, GeneralPurposeConfig};
use serde_json::Value as Json;
use std::sync::Arc;

/// Padding is wanted, and spare bits of the last letter are not looked at: as Go.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true),
);

/// Bytes of their text in base64, in which Go passes over ends of lines.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    LENIENT.decode(text).ok()
}

fn cannot<T>(from: &Value<'_>, to: &Type) -> Result<T, EvalError> {
    Err(EvalError::new(format!(
        "type conversion error from '{}' to '{}'",
        from.type_name(),
        to.name()
    )))
}

const INT_OVERFLOW: &str = "integer overflow";
const UINT_OVERFLOW: &str = "unsigned integer overflow";
const TIMESTAMP_OVERFLOW: &str = "timestamp overflow";

pub fn to_int<'a>(value: &Value<'a>) -> Outcome<'a> {
    let overflow = || EvalError::new(INT_OVERFLOW);
    let found = match value {
        Value::Int(value) | Value::Duration(value) => Some(*value),
        Value::Uint(value) => Some(i64::try_from(*value).map_err(|_| overflow())?),
        Value::Double(value) => Some(number::to_int(*value).ok_or_else(overflow)?),
        Value::String(text) => text.parse().ok(),
        Value::Timestamp(at) => Some(at.seconds),
        _ => None,
    };
    found.map_or_else(|| cannot(value, &Type::Int), |found| Ok(Value::Int(found)))
}

pub fn to_uint<'a>(value: &Value<'a>) -> Outcome<'a> {
    let overflow = || EvalError::new(UINT_OVERFLOW);
    let found = match value {
        Value::Uint(value) => Some(*value),
        Value::Int(value) => Some(u64::try_from(*value).map_err(|_| overflow())?),
        Value::Double(value) => Some(number::to_uint(*value).ok_or_else(overflow)?),
        Value::String(text) if !text.starts_with('+') => text.parse().ok(),
        _ => None,
    };
    found.map_or_else(
        || cannot(value, &Type::Uint),
        |found| Ok(Value::Uint(found)),
    )
}

pub fn to_double<'a>(value: &Value<'a>) -> Outcome<'a> {
    let found = match value {
        Value::Double(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        Value::String(text) => text.parse::<f64>().ok().filter(|found| {
            // too large a number is none
            found.is_finite() || text.bytes().any(|b| matches!(b, b'i' | b'I' | b'n' | b'N'))
        }),
        _ => None,
    };
    found.map_or_else(
        || cannot(value, &Type::Double),
        |found| Ok(Value::Double(found)),
    )
}

pub fn to_bool<'a>(value: &Value<'a>) -> Outcome<'a> {
    match value {
        Value::Bool(value) => Ok(Value::Bool(*value)),
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => cannot(value, &Type::Bool),
        },
        _ => cannot(value, &Type::Bool),
    }
}

pub fn to_bytes<'a>(value: &Value<'a>) -> Outcome<'a> {
    match value {
        Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => Ok(Value::Bytes(Arc::from(text.as_bytes()))),
        _ => cannot(value, &Type::Bytes),
    }
}

pub fn to_duration<'a>(value: &Value<'a>) -> Outcome<'a> {
    match value {
        Value::Duration(_) => Ok(value.clone()),
        Value::String(text) => match time::parse_duration(text) {
            Some(nanos) => Ok(Value::Duration(nanos)),
            None => cannot(value, &Type::Duration),
        },
        _ => cannot(value, &Type::Duration),
    }
}

pub fn to_timestamp<'a>(value: &Value<'a>) -> Outcome<'a> {
    let at = match value {
        Value::Timestamp(at) => Some(*at),
        Value::Int(seconds) => Some(Timestamp::new(*seconds, 0)),
        Value::String(text) => Timestamp::parse(text),
        _ => None,
    };
    match at {
        Some(at) if at.in_range() => Ok(Value::Timestamp(at)),
        Some(_) => Err(EvalError::new(TIMESTAMP_OVERFLOW)),
        None => cannot(value, &Type::Timestamp),
    }
}

pub fn to_string<'a>(value: &Value<'a>) -> Outcome<'a> {
    Ok(Value::string(match value {
        Value::String(_) => return Ok(value.clone()),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => number::shortest(*value),
        Value::Duration(nanos) => time::duration_text(*nanos),
        Value::Timestamp(at) => at.text(),
        Value::Type(name) => name.to_string(),
        Value::Bytes(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => text.to_owned(),
            Err(_) => {
                return Err(EvalError::new(
                    "invalid UTF-8 in bytes, cannot convert to string",
                ));
            }
        },
        _ => return cannot(value, &Type::String),
    }))
}

/// The value that a literal writes.
pub(crate) fn literal(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::String(Text::Shared(Arc::clone(text))),
        Literal::Bytes(bytes) => Value::Bytes(Arc::clone(bytes)),
    }
}

/// A value as JSON: moments and spans as texts, bytes in base64.
///
/// # Errors
/// What JSON cannot hold.
pub fn to_json(value: &Value<'_>) -> Result<Json, EvalError> {
    let number = |value: f64| serde_json::Number::from_f64(value).map(Json::Number);
    Ok(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::Uint(value) => Json::from(*value),
        Value::Double(value) => number(*value)
            .ok_or_else(|| EvalError::new("a number that is none has no form in JSON"))?,
        Value::String(text) => Json::from(text.as_str()),
        Value::Bytes(bytes) => Json::from(base64::engine::general_purpose::STANDARD.encode(bytes)),
        Value::Duration(nanos) => Json::from(time::duration_text(*nanos)),
        Value::Timestamp(at) => Json::from(at.text()),
        Value::List(list) => {
            let items: Result<Vec<Json>, EvalError> =
                list.iter().map(|item| to_json(&item?)).collect();
            Json::Array(items?)
        }
        Value::Map(Map::Json(map)) => map.json().clone(),
        Value::Map(map) => {
            let mut object = serde_json::Map::new();
            for key in map.keys() {
                if let Some(value) = map.get(&key)? {
                    object.insert(key.to_string(), to_json(&value)?);
                }
            }
            Json::Object(object)
        }
        Value::Optional(Some(value)) => to_json(value)?,
        Value::Optional(None) => {
            return Err(EvalError::new("optional.none() dereference"));
        }
        Value::Struct(object) => {
            let mut json = serde_json::Map::new();
            for (name, value) in &object.fields {
                json.insert(name.to_string(), to_json(value)?);
            }
            Json::Object(json)
        }
        Value::Opaque(opaque) if opaque.text().is_some() => Json::from(opaque.text()),
        Value::Preserved(json) => (*json).clone(),
        other => {
            return Err(EvalError::new(format!(
                "a value of type '{}' has no form in JSON",
                other.type_name()
            )));
        }
    })
}
