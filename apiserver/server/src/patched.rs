//! The text of a patched object as upstream shows it when it cannot be decoded: what the patch opened has its keys sorted, what it left alone is
//! as it was encoded.
//!
//! Follows `gopkg.in/evanphx/json-patch.v4`, which parses an object no further than a patch reaches.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use skiff_api::machinery::{
    field::{Errors, Path},
    schema::{Node, to_json},
    status::Status,
};

/// How far into an object a patch went.
#[derive(Default)]
pub struct Opened {
    children: BTreeMap<String, Opened>,
    /// It was read, so that its keys come out sorted.
    read: bool,
    /// Everything here came from the patch.
    given: Option<Given>,
}

/// How what a patch gives is written.
enum Given {
    Sorted,
    AsWritten(String),
}

/// An operation of a JSON patch, of which the value is left as it was written.
#[derive(Deserialize)]
struct Operation<'a> {
    op: Option<String>,
    path: Option<String>,
    from: Option<String>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
}

impl Opened {
    /// By a merge patch: objects into which it merges are open, all else it gives.
    pub fn by_merge(patch: &Value, live: &Value) -> Opened {
        let (Value::Object(patch), Value::Object(live)) = (patch, live) else {
            return Opened {
                given: Some(Given::Sorted),
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
            read: true,
            given: None,
        }
    }

    /// By the operations of a JSON patch, from its text: what lies above their places is open, and what they put there is as it was written, until
    /// another one goes into it.
    pub fn by_operations(patch: &[u8]) -> Opened {
        let mut root = Opened {
            read: true,
            ..Opened::default()
        };
        // a patch that could be applied can be read; of any other nothing is shown
        let operations: Vec<Operation> = serde_json::from_slice(patch).unwrap_or_default();
        for operation in operations {
            let takes_from = matches!(operation.op.as_deref(), Some("move" | "copy"));
            if let Some(from) = operation.from.filter(|_| takes_from) {
                root.open(&from);
            }
            let at = root.open(operation.path.as_deref().unwrap_or(""));
            if let (Some("add" | "replace"), Some(value)) =
                (operation.op.as_deref(), operation.value)
            {
                *at = Opened {
                    given: Some(Given::AsWritten(compacted(value.get()))),
                    ..Opened::default()
                };
            }
        }
        root
    }

    /// Opens all that lies above a place.
    fn open(&mut self, path: &str) -> &mut Opened {
        let mut at = self;
        for step in path.split('/').skip(1) {
            (at.given, at.read) = (None, true);
            at = at
                .children
                .entry(step.replace("~1", "/").replace("~0", "~"))
                .or_default();
        }
        at
    }
}

/// JSON without its spaces, and with what Go escapes.
fn compacted(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let (mut quoted, mut escaped) = (false, false);
    for c in json.chars() {
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                out.push_str(&format!("\\u{:04x}", u32::from(c)));
            }
            c if quoted || !c.is_ascii_whitespace() => out.push(c),
            _ => {}
        }
        (quoted, escaped) = match c {
            '"' if !escaped => (!quoted, false),
            '\\' => (quoted, quoted && !escaped),
            _ => (quoted, false),
        };
    }
    out
}

/// The object's text.
pub fn shown(value: &Value, node: Option<Node>, opened: &Opened) -> String {
    let mut out = Vec::new();
    write(&mut out, value, node, Some(opened));
    String::from_utf8_lossy(&out).into_owned()
}

fn write(out: &mut Vec<u8>, value: &Value, node: Option<Node>, opened: Option<&Opened>) {
    match (value, opened) {
        (_, Some(opened)) if opened.given.is_some() => match &opened.given {
            Some(Given::AsWritten(text)) => out.extend(text.bytes()),
            _ => out.extend(to_json(value, None)),
        },
        // nothing within was looked at
        (_, Some(opened)) if !opened.read => out.extend(to_json(value, node)),
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

/// A patch whose outcome, or which itself, cannot be taken.
pub fn not_taken(shown: String, said: String) -> Status {
    let mut errors = Errors::default();
    errors.invalid(&Path::new("patch"), shown, said);
    Status::invalid("", "", "", &errors)
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
            shown(&live, node, &by_merge),
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"labels":{},"name":"a"},"spec":{"ports":[{"name":"p","port":1}],"type":"X"}}"#
        );
        let by_operations = Opened::by_operations(
            br#"[{"op": "remove", "path": "/spec/ports/0/name", "from": "/metadata/name"}]"#,
        );
        assert_eq!(
            shown(&live, node, &by_operations),
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","labels":{}},"spec":{"ports":[{"name":"p","port":1}],"type":"X"}}"#
        );
        let given = Opened::by_operations(br#"[{"op": "replace", "path": "/spec", "value": {"type": "<\u00e9 \" >", "ports": 7}}]"#);
        assert_eq!(
            shown(&live, node, &given),
            r#"{"apiVersion":"v1","kind":"Service","metadata":{"name":"a","labels":{}},"spec":{"type":"\u003c\u00e9 \" \u003e","ports":7}}"#
        );
    }
}
