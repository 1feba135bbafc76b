//! The words for values of the wrong type where upstream converts maps to structs without making JSON of them.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/runtime/converter.go` (fromUnstructured).

use serde_json::{Number, Value};

use super::Shape;

/// The kind of what Go has for a value.
pub(super) fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

/// A number without a fraction.
pub(super) fn whole(number: &Number) -> Option<i64> {
    number.as_i64().or_else(|| {
        number
            .as_f64()
            .filter(|float| float.fract() == 0.0)
            .map(|float| float as i64)
    })
}

/// Why a value cannot become one of this shape.
pub(super) fn refusal(value: &Value, shape: &Shape) -> String {
    let found = kind_of(value);
    let (kind, name) = match shape {
        Shape::List(_) | Shape::Bytes => return format!("cannot restore slice from {found}"),
        Shape::Map(_) => return format!("cannot restore map from {found}"),
        Shape::String(name) => ("string", name.as_deref()),
        Shape::Int32(name) => ("int32", name.as_deref()),
        Shape::Int64(name) => ("int64", name.as_deref()),
        Shape::Bool => ("bool", None),
        Shape::Float64 => ("float64", None),
        _ => return format!("cannot restore struct from: {found}"),
    };
    // Go would convert these, JSON would not
    let convertible = matches!(
        (kind, found),
        ("string", "int64") | ("int32" | "int64", "float64")
    );
    if convertible {
        format!("cannot convert {found} to {}", name.unwrap_or(kind))
    } else {
        format!("unrecognized type: {kind}")
    }
}
