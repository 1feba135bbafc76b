//! How Go prints a JSON value and names its type: upstream's messages about patches quote them so.
//!
//! Invariant: the text is what `fmt.Sprintf("%v", …)` gives for the value decoded with integers kept.
//! Follows Go's `fmt` and `reflect`.

use std::fmt::{self, Write};

use serde_json::{Number, Value};

use crate::machinery::gonum;

/// A value as `%v` prints it: `map[a:1 b:[x y]]`.
pub struct GoValue<'a>(pub &'a Value);

impl fmt::Display for GoValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Value::Null => f.write_str("<nil>"),
            Value::Bool(b) => write!(f, "{b}"),
            Value::String(s) => f.write_str(s),
            Value::Number(n) => number(f, n),
            Value::Array(items) => list(f, items),
            Value::Object(map) => {
                f.write_str("map[")?;
                for (i, (k, v)) in map.iter().enumerate() {
                    write!(f, "{}{k}:{}", if i > 0 { " " } else { "" }, GoValue(v))?;
                }
                f.write_char(']')
            }
        }
    }
}

/// A list as `%v` prints it.
pub struct GoList<'a>(pub &'a [Value]);

impl fmt::Display for GoList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.0)
    }
}

fn list(f: &mut fmt::Formatter<'_>, items: &[Value]) -> fmt::Result {
    f.write_char('[')?;
    for (i, v) in items.iter().enumerate() {
        write!(f, "{}{}", if i > 0 { " " } else { "" }, GoValue(v))?;
    }
    f.write_char(']')
}

/// Go prints floats in the shortest form, with an exponent of two digits from a million on and below 1e-4.
fn number(f: &mut fmt::Formatter<'_>, n: &Number) -> fmt::Result {
    let Some(float) = n.as_f64().filter(|_| n.is_f64()) else {
        return write!(f, "{n}");
    };
    f.write_str(&gonum::float_text(float))
}

/// The name of a value's Go type, as `reflect` has it.
pub fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::String(_) => "string",
        Value::Number(n) if n.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn printed() {
        for (value, wanted) in [
            (
                json!({"b": [1, "x", null], "a": {"c": true}}),
                "map[a:map[c:true] b:[1 x <nil>]]",
            ),
            (json!(1.5), "1.5"),
            (json!(1e21), "1e+21"),
            (json!(1234567.5), "1.2345675e+06"),
            (json!(999999.5), "999999.5"),
            (json!(1e-7), "1e-07"),
            (json!(2.0), "2"),
            (json!(-3), "-3"),
            (json!({}), "map[]"),
        ] {
            assert_eq!(GoValue(&value).to_string(), wanted);
        }
    }
}
