//! JSON Patch as the recordings use it, and what differs between two values.

use serde_json::Value;

fn pointer(path: &str) -> Vec<String> {
    path.split('/')
        .skip(1)
        .map(|part| part.replace("~1", "/").replace("~0", "~"))
        .collect()
}

/// `value` after add, replace and remove operations.
pub fn patched(value: &Value, operations: &[Value]) -> Value {
    let mut value = value.clone();
    for operation in operations {
        let parts = pointer(operation["path"].as_str().unwrap());
        let Some((last, parents)) = parts.split_last() else {
            value = operation["value"].clone();
            continue;
        };
        let at = parents.iter().fold(&mut value, |at, part| match at {
            Value::Array(list) => &mut list[part.parse::<usize>().unwrap()],
            other => &mut other[part.as_str()],
        });
        let given = operation["value"].clone();
        match (operation["op"].as_str().unwrap(), at) {
            ("remove", Value::Array(list)) => {
                list.remove(last.parse().unwrap());
            }
            ("remove", Value::Object(map)) => {
                map.remove(last);
            }
            ("add", Value::Array(list)) if last == "-" => list.push(given),
            ("add", Value::Array(list)) => list.insert(last.parse().unwrap(), given),
            (_, Value::Array(list)) => list[last.parse::<usize>().unwrap()] = given,
            (_, Value::Object(map)) => {
                map.insert(last.clone(), given);
            }
            _ => {}
        }
    }
    value
}

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

/// As Python's `json.dumps` writes it: what servers quote of a body depends on its spaces.
pub fn python_json(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            format!(
                "{{{}}}",
                map.iter()
                    .map(|(k, v)| format!(
                        "{}: {}",
                        ascii(&Value::from(k.as_str()).to_string()),
                        python_json(v)
                    ))
                    .collect::<Vec<_>>()
                    .join(", ")
            )
        }
        Value::Array(list) => format!(
            "[{}]",
            list.iter().map(python_json).collect::<Vec<_>>().join(", ")
        ),
        other => ascii(&other.to_string()),
    }
}

/// Python escapes what is not ASCII.
fn ascii(text: &str) -> String {
    let mut units = [0; 2];
    text.chars()
        .map(|c| {
            if c.is_ascii() {
                c.to_string()
            } else {
                c.encode_utf16(&mut units)
                    .iter()
                    .map(|unit| format!("\\u{unit:04x}"))
                    .collect()
            }
        })
        .collect()
}
