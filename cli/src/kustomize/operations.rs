//! JSON patches as kustomizations have them. kustomize applies them with a newer library than the server's: that refuses what is no operation before it
//! changes anything, and keys that are not there.
//! Invariant: an operation that misses something ends the patch with an error.
//! Behaviour follows `github.com/evanphx/json-patch/v5`.

use crate::error::Problem;
use crate::typed::Read;
use serde_json::{Map, Value, json};
use skiff_api::machinery::patch::json::JsonPatch;
use skiff_api::machinery::read::go_kind;
use std::collections::BTreeMap;

/// A patch that was read: its operations, each as the server would read it.
pub struct Operations(Vec<(Value, JsonPatch)>);

impl Operations {
    /// Reads a patch.
    ///
    /// # Errors
    /// What is no list of operations.
    pub fn decode(patch: &Value) -> Result<Operations, Problem> {
        let list = match patch {
            Value::Null => &[][..],
            Value::Array(list) => list,
            other => {
                let kind = go_kind(other);
                let why =
                    format!("json: cannot unmarshal {kind} into Go value of type jsonpatch.Patch");
                return Err(Problem(why));
            }
        };
        let is_other = |one: &Value| !one.is_object() && !one.is_null();
        if let Some(at) = list.iter().position(is_other) {
            let kind = go_kind(&list[at]);
            return Err(Problem(format!(
                "json: cannot unmarshal {kind} into Patch.{at} of type jsonpatch.Operation"
            )));
        }
        let read = |one: &Value| {
            check(one)
                .map_err(|why| Problem(format!("invalid operation {}: {why}", shown(one))))?;
            let patch = JsonPatch::decode(&json!([one]), false);
            Ok((one.clone(), patch.map_err(|why| why.to_string())?))
        };
        Ok(Operations(
            list.iter().map(read).collect::<Result<_, Problem>>()?,
        ))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Does all operations in order.
    ///
    /// # Errors
    /// The first that cannot be done.
    pub fn apply(&self, document: &mut Value) -> Result<(), Problem> {
        for (operation, patch) in &self.0 {
            missing(document, operation)?;
            // of a whole document nothing but another one comes
            let keeps = operation.text("op") == "replace" && operation.text("path").is_empty();
            if keeps && !operation.at("value").is_object() && !operation.at("value").is_array() {
                continue;
            }
            patch.apply(document).map_err(|why| why.to_string())?;
        }
        Ok(())
    }
}

/// An operation as Go writes it.
fn shown(operation: &Value) -> String {
    match operation.as_object() {
        Some(map) => json!(map.iter().collect::<BTreeMap<_, _>>()).to_string(),
        None => operation.to_string(),
    }
}

/// That an operation has what it needs.
fn check(operation: &Value) -> Result<(), Problem> {
    let none = Map::new();
    let fields = operation.as_object().unwrap_or(&none);
    match operation.text("op") {
        "add" | "replace" if !fields.contains_key("value") => {
            let why = "failed to decode 'value': operation, missing value field: missing value";
            return Err(Problem(why.into()));
        }
        "move" | "copy" => has_text(operation, "from", "operation, missing from field")?,
        "add" | "replace" | "remove" | "test" => {}
        _ => return Err(Problem("unsupported operation".into())),
    }
    has_text(operation, "path", "operation missing path field")
}

fn has_text(operation: &Value, field: &str, missing: &str) -> Result<(), Problem> {
    let why = match operation.at(field) {
        Value::String(_) => return Ok(()),
        Value::Null => format!("{missing}: missing value"),
        other => format!(
            "json: cannot unmarshal {} into Go value of type string",
            go_kind(other)
        ),
    };
    Err(Problem(format!("failed to decode '{field}': {why}")))
}

/// That no key is missing which the operation is about.
fn missing(document: &Value, operation: &Value) -> Result<(), Problem> {
    let (path, from) = (operation.text("path"), operation.text("from"));
    let (kind, of) = match operation.text("op") {
        kind @ ("replace" | "remove") => (kind, path),
        kind @ ("move" | "copy") => (kind, from),
        _ => return Ok(()),
    };
    let Some(key) = missing_key(document, of) else {
        return Ok(());
    };
    Err(Problem(match kind {
        "replace" => {
            format!("replace operation does not apply: doc is missing key: {path}: missing value")
        }
        "remove" => format!(
            "error in remove for path: '{path}': unable to remove nonexistent key: {key}: missing value"
        ),
        "move" => format!(
            "error in move for path: '{key}': unable to get nonexistent key: {key}: missing value"
        ),
        _ => format!(
            "error in copy for from: '{from}': unable to get nonexistent key: {key}: missing value"
        ),
    }))
}

/// The last part of a path, where the object that is to have it is there and lacks it.
fn missing_key(document: &Value, path: &str) -> Option<String> {
    let part = |part: &str| part.replace("~1", "/").replace("~0", "~");
    let mut parts: Vec<String> = path.split('/').skip(1).map(part).collect();
    let key = parts.pop()?;
    let mut at = document;
    for part in parts {
        at = match at {
            Value::Array(items) => {
                let index: i64 = part.parse().ok()?;
                let from_end = if index < 0 { items.len() as i64 } else { 0 };
                items.get(usize::try_from(index + from_end).ok()?)?
            }
            other => other.get(&part)?,
        };
    }
    let holder = at.as_object()?;
    (!holder.contains_key(&key)).then_some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn applied(patch: Value) -> Result<Value, String> {
        let mut document = json!({"data": {"a": "b", "n": null}, "list": [1, {"x": 2}]});
        let read = Operations::decode(&patch).map_err(|why| why.0)?;
        read.apply(&mut document).map_err(|why| why.0)?;
        Ok(document)
    }

    /// As kubectl v1.36 does it.
    #[test]
    fn what_is_not_there_is_missed() {
        for (operation, wanted) in [
            (
                json!({"op": "replace", "path": "/data/x", "value": 1}),
                "replace operation does not apply: doc is missing key: /data/x: missing value",
            ),
            (
                json!({"op": "replace", "path": "/list/-1/y", "value": 1}),
                "replace operation does not apply: doc is missing key: /list/-1/y: missing value",
            ),
            (
                json!({"op": "replace", "path": "/spec/x", "value": 1}),
                "replace operation does not apply: doc is missing path: /spec/x: missing value",
            ),
            (
                json!({"op": "remove", "path": "/data/x~1y"}),
                "error in remove for path: '/data/x~1y': unable to remove nonexistent key: x/y: missing value",
            ),
            (
                json!({"op": "remove", "path": ""}),
                "remove operation does not apply: doc is missing path: \"\": missing value",
            ),
            (
                json!({"op": "remove", "path": "/list/7"}),
                "error in remove for path: '/list/7': Unable to access invalid index: 7: invalid index referenced",
            ),
            (
                json!({"op": "move", "from": "/data/x", "path": "/data/y"}),
                "error in move for path: 'x': unable to get nonexistent key: x: missing value",
            ),
            (
                json!({"op": "copy", "from": "/data/x", "path": "/data/y"}),
                "error in copy for from: '/data/x': unable to get nonexistent key: x: missing value",
            ),
            (
                json!({"op": "copy", "from": "/q/x", "path": "/data/y"}),
                "copy operation does not apply: doc is missing from path: /q/x: missing value",
            ),
            (
                json!({"op": "test", "path": "/data/x", "value": 1}),
                "testing value /data/x failed: test failed",
            ),
        ] {
            assert_eq!(
                applied(json!([operation.clone()])).unwrap_err(),
                wanted,
                "{operation}"
            );
        }
    }

    #[test]
    fn what_is_there_is_changed() {
        let operation = json!({"op": "replace", "path": "/data/n", "value": 1});
        assert_eq!(applied(json!([operation])).unwrap()["data"]["n"], 1);
        let operation = json!({"op": "replace", "path": "", "value": "x"});
        assert_eq!(applied(json!([operation])).unwrap()["data"]["a"], "b");
        let operation = json!({"op": "test", "path": "/data/x"});
        assert!(applied(json!([operation])).is_ok());
        assert!(Operations::decode(&Value::Null).is_ok_and(|read| read.is_empty()));
    }

    /// As kubectl v1.36 does it.
    #[test]
    fn what_is_no_operation_is_refused() {
        for (patch, wanted) in [
            (
                json!([{"op": "replace", "path": "/data/a"}]),
                r#"invalid operation {"op":"replace","path":"/data/a"}: failed to decode 'value': operation, missing value field: missing value"#,
            ),
            (
                json!([{"op": "remove"}]),
                r#"invalid operation {"op":"remove"}: failed to decode 'path': operation missing path field: missing value"#,
            ),
            (
                json!([{"path": "/y", "op": "move"}]),
                r#"invalid operation {"op":"move","path":"/y"}: failed to decode 'from': operation, missing from field: missing value"#,
            ),
            (
                json!([{"op": "add", "path": 1, "value": "c"}]),
                r#"invalid operation {"op":"add","path":1,"value":"c"}: failed to decode 'path': json: cannot unmarshal number into Go value of type string"#,
            ),
            (
                json!([null]),
                "invalid operation null: unsupported operation",
            ),
            (
                json!([{"op": 1}]),
                r#"invalid operation {"op":1}: unsupported operation"#,
            ),
            (
                json!([1]),
                "json: cannot unmarshal number into Patch.0 of type jsonpatch.Operation",
            ),
            (
                json!({"op": "add"}),
                "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
            ),
        ] {
            assert_eq!(applied(patch).unwrap_err(), wanted);
        }
    }
}
