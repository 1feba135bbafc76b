//! JSON as the recordings use it: patches, and the text of bodies.

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

/// As Python's `json.dumps` writes it: what servers quote of a body depends on its spaces.
pub fn python_json(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            // who recorded them wrote these three first
            let first = ["apiVersion", "kind", "metadata"];
            let place = |name: &str| {
                first
                    .iter()
                    .position(|of| *of == name)
                    .unwrap_or(first.len())
            };
            let mut members: Vec<_> = map.iter().collect();
            if map.contains_key("apiVersion") && map.contains_key("kind") {
                members.sort_by_key(|(name, _)| place(name));
            }
            format!(
                "{{{}}}",
                members
                    .into_iter()
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
