//! Reading canonical values the way Go reads structs: what is absent is the zero value.
//!
//! Invariant: nothing here allocates or fails.

use serde_json::{Map, Value};

/// What Go's decoder calls a value in its errors.
pub fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Reads of the fields of an object.
pub trait Read {
    /// The value of a field; `None` when it is absent or null (Go's nil).
    fn some(&self, name: &str) -> Option<&Value>;

    /// A string, empty when absent.
    fn text(&self, name: &str) -> &str {
        self.some(name).and_then(Value::as_str).unwrap_or("")
    }
    /// A string behind a pointer.
    fn text_ptr(&self, name: &str) -> Option<&str> {
        self.some(name).and_then(Value::as_str)
    }
    /// A number, 0 when absent.
    fn int(&self, name: &str) -> i64 {
        self.some(name).and_then(Value::as_i64).unwrap_or(0)
    }
    /// A number behind a pointer.
    fn int_ptr(&self, name: &str) -> Option<i64> {
        self.some(name).and_then(Value::as_i64)
    }
    /// A flag, false when absent.
    fn flag(&self, name: &str) -> bool {
        self.some(name).and_then(Value::as_bool).unwrap_or(false)
    }
    /// A flag behind a pointer.
    fn flag_ptr(&self, name: &str) -> Option<bool> {
        self.some(name).and_then(Value::as_bool)
    }
    /// A list, empty when absent.
    fn list(&self, name: &str) -> &[Value] {
        self.some(name)
            .and_then(Value::as_array)
            .map_or(&[], Vec::as_slice)
    }
    /// A map.
    fn map(&self, name: &str) -> Option<&Map<String, Value>> {
        self.some(name).and_then(Value::as_object)
    }
    /// The entries of a map, sorted by key.
    fn entries(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.map(name)
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.as_str(), value))
    }
    /// The strings of a list.
    fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.list(name)
            .iter()
            .map(|value| value.as_str().unwrap_or(""))
    }
    /// A nested object; the null value when absent, from which everything reads as zero.
    fn at(&self, name: &str) -> &Value {
        const NULL: &Value = &Value::Null;
        self.some(name).unwrap_or(NULL)
    }
}

impl Read for Value {
    fn some(&self, name: &str) -> Option<&Value> {
        self.as_object()?.get(name).filter(|value| !value.is_null())
    }
}

impl Read for Map<String, Value> {
    fn some(&self, name: &str) -> Option<&Value> {
        self.get(name).filter(|value| !value.is_null())
    }
}
