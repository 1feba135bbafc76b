//! Values as Go's `fmt` writes them, for messages that show a whole object.
//! Invariant: keys are in order.
//! Behaviour follows Go's package `fmt`: `%#v` and `%+v` of what JSON is decoded into.

use crate::error::quote;
use serde_json::Value;

/// As `%#v` writes it.
pub fn syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".into(),
        Value::String(s) => quote(s),
        Value::Array(list) => format!(
            "[]interface {{}}{{{}}}",
            list.iter().map(syntax).collect::<Vec<_>>().join(", ")
        ),
        Value::Object(_) => {
            let fields: Vec<String> = fields(value)
                .map(|(k, v)| format!("{}:{}", quote(k), syntax(v)))
                .collect();
            format!("map[string]interface {{}}{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}

/// As `%+v` writes it.
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".into(),
        Value::String(s) => s.clone(),
        Value::Array(list) => format!("[{}]", list.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(_) => format!(
            "map[{}]",
            fields(value)
                .map(|(k, v)| format!("{k}:{}", plain(v)))
                .collect::<Vec<_>>()
                .join(" ")
        ),
        other => other.to_string(),
    }
}

fn fields(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    let mut all: Vec<_> = value.as_object().into_iter().flatten().collect();
    all.sort_by_key(|(key, _)| *key);
    all.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_as_go_shows_them() {
        let value = json!({"b": null, "a": [1, "x"], "c": true});
        assert_eq!(
            syntax(&value),
            "map[string]interface {}{\"a\":[]interface {}{1, \"x\"}, \"b\":interface {}(nil), \"c\":true}"
        );
        assert_eq!(plain(&value), "map[a:[1 x] b:<nil> c:true]");
    }
}
