//! Values that are no objects or lists: held to their type, and brought into the form in which Go writes them.
//!
//! Follows `encoding/json`, and the decoders of their own that quantities, times and numbers-or-strings have.

use std::borrow::Cow;

use base64::Engine;
use serde_json::Value;

use super::{super::Shape, Step, Trail, Walk, converter};
use crate::machinery::{gobase64, quantity, read::go_kind, time};

impl Walk<'_> {
    pub(super) fn scalar(&mut self, value: &mut Value, shape: &Shape, trail: Option<&Trail>) {
        match (shape, &*value) {
            (Shape::String(_), Value::String(_))
            | (Shape::Bool, Value::Bool(_))
            | (Shape::Float64, Value::Number(_)) => {}
            (Shape::Int32(_), Value::Number(n))
                if n.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) => {}
            (Shape::Int64(_), Value::Number(n)) if n.as_i64().is_some() => {}
            (Shape::Int32(_) | Shape::Int64(_), Value::Number(n))
                if self.converts && converter::whole(n).is_some() =>
            {
                let whole = converter::whole(n).unwrap_or(0);
                // a number that does not fit is cut, as Go does it
                *value = if matches!(shape, Shape::Int32(_)) {
                    i64::from(whole as i32)
                } else {
                    whole
                }
                .into();
            }
            (Shape::Int32(_) | Shape::Int64(_), Value::Number(_)) if self.converts => {
                self.mistyped(&value.clone(), shape, trail)
            }
            (Shape::Int32(_) | Shape::Int64(_), Value::Number(n)) => {
                let found = format!("number {n}");
                self.wrong(&found, &shape.go_name(self.schema), trail);
            }
            (Shape::IntOrString, Value::String(_)) => {}
            (Shape::IntOrString, Value::Number(n)) => {
                // who converts writes what it holds, and of a float without a fraction no fraction
                let whole = converter::whole(n).filter(|_| self.converts);
                let n = whole.map_or_else(|| n.clone(), Into::into);
                if n.as_i64().is_none_or(|n| i32::try_from(n).is_err()) {
                    self.fail_typed(&format!("number {n}"), "int32", trail);
                }
                if whole.is_some() {
                    *value = n.into();
                }
            }
            (Shape::IntOrString, other) => self.fail_typed(go_kind(other), "int32", trail),
            (Shape::Bytes, Value::String(text)) => match gobase64::decode(text) {
                Ok(bytes) => {
                    *value = base64::engine::general_purpose::STANDARD
                        .encode(bytes)
                        .into()
                }
                Err(error) if self.converts => {
                    self.fault(format!("error decoding from json: {error}"), trail, true)
                }
                Err(error) => self.fault(error.to_string(), trail, false),
            },
            (Shape::Bytes, Value::Array(_)) if !self.converts => {
                self.bytes_one_by_one(value, trail)
            }
            (Shape::Quantity, Value::String(text)) => match quantity::canonical(text.trim()) {
                Ok(Cow::Borrowed(whole)) if whole.len() == text.len() => {}
                Ok(Cow::Borrowed(bare)) => *value = bare.to_string().into(),
                Ok(Cow::Owned(canonical)) => *value = canonical.into(),
                Err(error) => self.fail(error.to_string(), trail),
            },
            (Shape::Quantity, Value::Number(number)) => {
                match quantity::canonical(&number.to_string()) {
                    Ok(canonical) => *value = canonical.into_owned().into(),
                    Err(error) => self.fail(error.to_string(), trail),
                }
            }
            (Shape::Quantity, other) => {
                let text = other.to_string();
                if let Err(error) = quantity::canonical(&text) {
                    self.fail(error.to_string(), trail);
                }
            }
            (Shape::Time, Value::String(text)) => match time::seconds_of(text) {
                Ok(Some(Cow::Borrowed(_))) => {}
                Ok(written) => *value = written.map_or(Value::Null, Value::from),
                Err(error) => self.fail(error.into(), trail),
            },
            (Shape::MicroTime, Value::String(text)) => match time::micros_of(text) {
                Ok(Some(Cow::Borrowed(_))) => {}
                Ok(written) => *value = written.map_or(Value::Null, Value::from),
                Err(error) => self.fail(error.into(), trail),
            },
            (Shape::Duration, Value::String(_)) => {}
            (Shape::Time | Shape::MicroTime | Shape::Duration, other) => {
                self.fail_typed(go_kind(other), "string", trail);
            }
            (_, other) => self.mistyped(other, shape, trail),
        }
    }
}

impl Walk<'_> {
    /// Bytes as a list of numbers, which Go takes, too.
    fn bytes_one_by_one(&mut self, value: &mut Value, trail: Option<&Trail>) {
        let items = value.as_array().cloned().unwrap_or_default();
        let mut bytes = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let number = item.as_u64().and_then(|number| u8::try_from(number).ok());
            match (number, item) {
                (Some(byte), _) => bytes.push(byte),
                (None, Value::Null) => bytes.push(0),
                (None, item) => {
                    let found = match item {
                        Value::Number(number) => format!("number {number}"),
                        item => go_kind(item).into(),
                    };
                    let trail = Trail {
                        parent: trail,
                        at: Step::Index(index),
                    };
                    self.wrong(&found, "uint8", Some(&trail));
                }
            }
        }
        *value = base64::engine::general_purpose::STANDARD
            .encode(bytes)
            .into();
    }
}

/// Go holds numbers of values without a type as 64-bit integers where they are such, and as floats where they are not.
pub(super) fn as_go_holds(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_u64() && !number.is_i64() => {
            *value = number.as_f64().into();
        }
        Value::Array(items) => items.iter_mut().for_each(as_go_holds),
        Value::Object(map) => map.values_mut().for_each(as_go_holds),
        _ => {}
    }
}
