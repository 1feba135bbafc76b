//! KYAML: YAML in flow style, every text quoted, every list and object in brackets, commas after each entry.
//! Invariant: the output is YAML of the same value, and begins with `---`.
//! Behaviour follows `sigs.k8s.io/yaml/kyaml`.

use super::json;
use serde_json::Value;

/// One document.
pub fn write(value: &Value) -> String {
    let mut out = String::from("---\n");
    node(&mut out, value, 0);
    out.push('\n');
    out
}

fn key(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '/'));
    let meant = crate::yaml::read(text).is_ok_and(|d| d.first().is_some_and(|d| d.value.is_string()));
    if plain && meant { text.into() } else { json::string(text, false) }
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n(' ', depth * 2));
}

fn node(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(m) if m.is_empty() => out.push_str("{}"),
        Value::Array(l) if l.is_empty() => out.push_str("[]"),
        Value::Object(m) => {
            out.push_str("{\n");
            let order = ["apiVersion", "kind", "metadata"];
            let mut keys: Vec<&String> = m.keys().collect();
            if depth == 0 {
                keys.sort_by_key(|k| order.iter().position(|o| o == k).unwrap_or(order.len()));
            }
            for k in keys {
                indent(out, depth + 1);
                out.push_str(&key(k));
                out.push_str(": ");
                node(out, &m[k], depth + 1);
                out.push_str(",\n");
            }
            indent(out, depth);
            out.push('}');
        }
        Value::Array(l) if l.iter().all(|v| v.is_object() || v.is_array()) => {
            out.push('[');
            for (i, v) in l.iter().enumerate() {
                if i > 0 {
                    out.push_str(", ");
                }
                node(out, v, depth);
            }
            out.push(']');
        }
        Value::Array(l) => {
            out.push_str("[\n");
            for v in l {
                indent(out, depth + 1);
                node(out, v, depth + 1);
                out.push_str(",\n");
            }
            indent(out, depth);
            out.push(']');
        }
        Value::String(s) => out.push_str(&json::string(s, false)),
        v => out.push_str(&v.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn it_is_still_yaml() {
        let v = json!({"kind": "A", "apiVersion": "v1", "l": [{"a": 1}, {"b": []}], "s": ["x", "y"], "yes": null});
        let text = write(&v);
        assert!(text.starts_with("---\n{\n  apiVersion: \"v1\",\n  kind: \"A\",\n"), "{text}");
        assert_eq!(crate::yaml::read(&text).unwrap()[0].value, v);
    }
}
