//! The text of a patched object as upstream shows it when it cannot be decoded: what the patch opened has its keys sorted, what it left alone is
//! as it was encoded.
//!
//! Follows `gopkg.in/evanphx/json-patch.v4`, which parses an object no further than a patch reaches.

use std::collections::BTreeMap;

use serde_json::Value;
use skiff_api::machinery::schema::{Node, to_json};

/// How far into an object a patch went.
#[derive(Default)]
pub struct Opened {
    children: BTreeMap<String, Opened>,
    /// Everything here came from the patch.
    given: bool,
}

impl Opened {
    /// By a merge patch: objects into which it merges are open, all else it gives.
    pub fn by_merge(patch: &Value, live: &Value) -> Opened {
        let (Value::Object(patch), Value::Object(live)) = (patch, live) else {
            return Opened {
                given: true,
                ..Opened::default()
            };
        };
        let children = patch.iter().map(|(name, value)| {
            (
                name.clone(),
                Opened::by_merge(value, live.get(name).unwrap_or(&Value::Null)),
            )
        });
        Opened {
            children: children.collect(),
            given: false,
        }
    }

    /// By the operations of a JSON patch: what lies above their places is open.
    pub fn by_operations(patch: &Value) -> Opened {
        let mut root = Opened::default();
        for operation in patch.as_array().into_iter().flatten() {
            for field in ["path", "from"] {
                let mut at = &mut root;
                let steps: Vec<&str> = operation[field]
                    .as_str()
                    .unwrap_or("")
                    .split('/')
                    .skip(1)
                    .collect();
                for step in steps.iter().take(steps.len().saturating_sub(1)) {
                    at = at
                        .children
                        .entry(step.replace("~1", "/").replace("~0", "~"))
                        .or_default();
                }
            }
        }
        root
    }
}

/// The object's text.
pub fn patched(value: &Value, node: Option<Node>, opened: &Opened) -> String {
    let mut out = Vec::new();
    write(&mut out, value, node, Some(opened));
    String::from_utf8_lossy(&out).into_owned()
}

fn write(out: &mut Vec<u8>, value: &Value, node: Option<Node>, opened: Option<&Opened>) {
    match (value, opened) {
        (_, Some(Opened { given: true, .. })) => out.extend(to_json(value, None)),
        (Value::Object(map), Some(opened)) => {
            out.push(b'{');
            for (at, (name, child)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                out.extend(to_json(&Value::from(name.as_str()), None));
                out.push(b':');
                write(
                    out,
                    child,
                    node.and_then(|node| node.child(name)),
                    opened.children.get(name),
                );
            }
            out.push(b'}');
        }
        (Value::Array(items), Some(opened)) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(
                    out,
                    item,
                    node.and_then(|node| node.element()),
                    opened.children.get(&at.to_string()),
                );
            }
            out.push(b']');
        }
        _ => out.extend(to_json(value, node)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use skiff_api::machinery::schema::Schema;

    use super::*;

    #[test]
    fn opened_objects_are_sorted() {
        let live = json!({"kind": "Service", "apiVersion": "v1", "metadata": {"name": "a", "labels": {}}, "spec": {"type": "X", "ports": [{"port": 1, "name": "p"}]}});
        let node = Schema::builtin().get("core.v1.Service");
        let by_merge = Opened::by_merge(&json!({"metadata": {"labels": {"z": "1"}}}), &live);
        assert_eq!(
            patched(&live, node, &by_merge),
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"labels":{},"name":"a"},"spec":{"ports":[{"name":"p","port":1}],"type":"X"}}"#
        );
        let by_operations =
            Opened::by_operations(&json!([{"op": "remove", "path": "/spec/ports/0/name"}]));
        assert_eq!(
            patched(&live, node, &by_operations),
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","labels":{}},"spec":{"ports":[{"name":"p","port":1}],"type":"X"}}"#
        );
    }
}
