//! What differs between two values.

use serde_json::Value;

/// Managed fields in an order that does not hang on which second a write fell in.
pub fn ordered(value: &Value) -> Value {
    match value {
        Value::Object(map) => map
            .iter()
            .map(|(k, v)| match v {
                Value::Array(list) if k == "managedFields" => {
                    let mut list: Vec<Value> = list.iter().map(ordered).collect();
                    list.sort_by_key(Value::to_string);
                    (k.clone(), Value::Array(list))
                }
                v => (k.clone(), ordered(v)),
            })
            .collect(),
        Value::Array(list) => list.iter().map(ordered).collect(),
        other => other.clone(),
    }
}

/// One text for each place where the two differ.
pub fn differences(old: &Value, new: &Value) -> Vec<String> {
    let mut out = Vec::new();
    walk(old, new, String::new(), &mut out);
    out
}

fn walk(old: &Value, new: &Value, path: String, out: &mut Vec<String>) {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().chain(b.keys().filter(|k| !a.contains_key(*k))) {
                let here = format!("{path}/{key}");
                match (a.get(key), b.get(key)) {
                    (Some(a), Some(b)) => walk(a, b, here, out),
                    (Some(a), None) => out.push(format!("{here}: missing, should be {a}")),
                    (None, Some(b)) => out.push(format!("{here}: {b} should not be there")),
                    (None, None) => {}
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (index, (a, b)) in a.iter().zip(b).enumerate() {
                walk(a, b, format!("{path}/{index}"), out);
            }
        }
        _ if old == new || old.as_f64().is_some() && old.as_f64() == new.as_f64() => {}
        _ => out.push(format!("{path}: {new}\n       should be {old}")),
    }
}
