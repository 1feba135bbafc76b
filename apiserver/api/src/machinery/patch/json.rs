//! JSON Patch (RFC 6902) as the API server applies it.
//!
//! Invariant: the document is an object or a list at every step; a step either happens as a whole or ends the patch with an error.
//! It has the habits of the library upstream uses: negative indexes count from the end, `replace` of a field that is not there adds it,
//! an absent `value` is null, what stands before the first `/` of a path is passed over.
//! Follows `gopkg.in/evanphx/json-patch.v4` and upstream's `endpoints/handlers/patch.go`.

use crate::machinery::{
    problem::{Problem, problem},
    read::go_kind,
};
use serde_json::{Map, Value};

/// The largest number of operations in one patch.
pub const MAX_OPERATIONS: usize = 10_000;
/// How many bytes all `copy` operations of one patch may add.
pub const MAX_COPY_BYTES: usize = 3 * 1024 * 1024;

/// Why a patch cannot be read or applied. The server answers [`JsonPatchError::Decode`] with 400, [`JsonPatchError::TooMany`] with 413, all others with
/// 422 and a text of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonPatchError {
    /// The document is no list of operations.
    #[error("{0}")]
    Decode(String),
    /// More than [`MAX_OPERATIONS`].
    #[error("The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {0}")]
    TooMany(usize),
    /// An operation cannot be done.
    #[error("{0}")]
    Apply(String),
    /// A `test` operation found another value.
    #[error("testing value {0} failed: test failed")]
    TestFailed(String),
    /// Copies add more than [`MAX_COPY_BYTES`].
    #[error(
        "Unable to complete the copy, the accumulated size increase of copy is {0}, exceeding the limit {MAX_COPY_BYTES}"
    )]
    CopySize(usize),
}

/// A patch that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct JsonPatch {
    operations: Vec<Map<String, Value>>,
    /// Fields that operations do not have, as paths (`[0].foo`).
    pub unknown: Vec<String>,
}

impl JsonPatch {
    /// Reads a patch. With `validate` (the request's `fieldValidation` is not `Ignore`) the types of `op`, `path` and `from` are checked first.
    pub fn decode(body: &Value, validate: bool) -> Result<JsonPatch, JsonPatchError> {
        let (prefix, list, element) = if validate {
            (
                "error decoding patch: ",
                "[]handlers.jsonPatchOp",
                "handlers.jsonPatchOp",
            )
        } else {
            ("", "jsonpatch.Patch", "jsonpatch.Operation")
        };
        let wrong = |value: &Value, place: &str| {
            JsonPatchError::Decode(format!(
                "{prefix}json: cannot unmarshal {} into Go {place}",
                go_kind(value)
            ))
        };
        let items = match body {
            Value::Null => &[][..],
            Value::Array(items) => items,
            other => return Err(wrong(other, &format!("value of type {list}"))),
        };
        let mut patch = JsonPatch {
            operations: Vec::with_capacity(items.len()),
            unknown: Vec::new(),
        };
        for (i, item) in items.iter().enumerate() {
            let operation = match item {
                Value::Null => Map::new(),
                Value::Object(operation) => operation.clone(),
                other => return Err(wrong(other, &format!("value of type {element}"))),
            };
            for (name, value) in operation.iter().filter(|_| validate) {
                match name.as_str() {
                    "op" | "path" | "from" if !value.is_string() && !value.is_null() => {
                        return Err(wrong(
                            value,
                            &format!("struct field jsonPatchOp.{name} of type string"),
                        ));
                    }
                    "op" | "path" | "from" | "value" => {}
                    _ => patch.unknown.push(format!("[{i}].{name}")),
                }
            }
            patch.operations.push(operation);
        }
        if patch.operations.len() > MAX_OPERATIONS {
            return Err(JsonPatchError::TooMany(patch.operations.len()));
        }
        Ok(patch)
    }

    /// Applies all operations in order. After an error the document is half changed.
    pub fn apply(&self, document: &mut Value) -> Result<(), JsonPatchError> {
        let mut copied = 0;
        for operation in &self.operations {
            match text(operation, "op").unwrap_or("unknown") {
                "add" => add(document, operation)?,
                "remove" => remove(document, operation)?,
                "replace" => replace(document, operation)?,
                "move" => shift(document, operation)?,
                "test" => test(document, operation)?,
                "copy" => copy(document, operation, &mut copied)?,
                other => return Err(JsonPatchError::Apply(format!("Unexpected kind: {other}"))),
            }
        }
        Ok(())
    }
}

fn text<'a>(operation: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    operation.get(name)?.as_str()
}

fn path<'a>(
    operation: &'a Map<String, Value>,
    name: &str,
    verb: &str,
) -> Result<&'a str, JsonPatchError> {
    text(operation, name).ok_or_else(|| {
        failed(format!(
            "{verb} operation failed to decode {name}: missing value"
        ))
    })
}

fn failed(text: impl Into<String>) -> JsonPatchError {
    JsonPatchError::Apply(text.into())
}

fn value(operation: &Map<String, Value>) -> Value {
    operation.get("value").cloned().unwrap_or(Value::Null)
}

/// The object or list that holds the last part of a path, and that part.
fn container<'a>(document: &'a mut Value, path: &str) -> Option<(&'a mut Value, String)> {
    let mut parts = path
        .split('/')
        .skip(1)
        .map(|p| p.replace("~1", "/").replace("~0", "~"))
        .peekable();
    let mut at = document;
    loop {
        let part = parts.next()?;
        if parts.peek().is_none() {
            return Some((at, part));
        }
        at = match at {
            Value::Object(map) => map.get_mut(&part)?,
            Value::Array(items) => {
                let index = index(&part, items.len())
                    .ok()
                    .filter(|i| *i < items.len())?;
                &mut items[index]
            }
            _ => return None,
        };
        if !at.is_object() && !at.is_array() {
            return None;
        }
    }
}

/// The place in a list that a part of a path means, counted from the end when negative; it may lie past the end.
fn index(part: &str, length: usize) -> Result<usize, Problem> {
    let wanted: i64 = part
        .parse()
        .map_err(|_| problem!("strconv.Atoi: parsing \"{part}\": invalid syntax"))?;
    let found = if wanted < 0 {
        wanted + length as i64
    } else {
        wanted
    };
    usize::try_from(found).map_err(|_| invalid(wanted))
}

fn invalid(index: impl std::fmt::Display) -> Problem {
    problem!("Unable to access invalid index: {index}: invalid index referenced")
}

/// What stands there; nothing when an object lacks the field.
fn get<'a>(container: &'a Value, key: &str) -> Result<Option<&'a Value>, Problem> {
    match container {
        Value::Array(items) => items
            .get(index(key, items.len())?)
            .map(Some)
            .ok_or_else(|| invalid(key)),
        other => Ok(other.get(key)),
    }
}

fn put(container: &mut Value, key: String, value: Value) -> Result<(), Problem> {
    match container {
        Value::Array(items) if key == "-" => items.push(value),
        Value::Array(items) => {
            let at = index(&key, items.len() + 1).map_err(|e| {
                if e.starts_with("strconv") {
                    problem!("value was not a proper array index: '{key}': {e}")
                } else {
                    e
                }
            })?;
            if at > items.len() {
                return Err(invalid(key));
            }
            items.insert(at, value);
        }
        Value::Object(map) => {
            map.insert(key, value);
        }
        _ => return Err("unknown object type".into()),
    }
    Ok(())
}

fn take(container: &mut Value, key: &str) -> Result<Value, Problem> {
    match container {
        Value::Array(items) => {
            let at = index(key, items.len())?;
            if at >= items.len() {
                Err(invalid(key))
            } else {
                Ok(items.remove(at))
            }
        }
        Value::Object(map) => map
            .remove(key)
            .ok_or_else(|| problem!("Unable to remove nonexistent key: {key}: missing value")),
        _ => Err("unknown object type".into()),
    }
}

fn add(document: &mut Value, operation: &Map<String, Value>) -> Result<(), JsonPatchError> {
    let path = path(operation, "path", "add")?;
    let (at, key) = container(document, path).ok_or_else(|| {
        failed(format!(
            "add operation does not apply: doc is missing path: \"{path}\": missing value"
        ))
    })?;
    put(at, key, value(operation))
        .map_err(|e| failed(format!("error in add for path: '{path}': {e}")))
}

fn remove(document: &mut Value, operation: &Map<String, Value>) -> Result<(), JsonPatchError> {
    let path = path(operation, "path", "remove")?;
    let (at, key) = container(document, path).ok_or_else(|| {
        failed(format!(
            "remove operation does not apply: doc is missing path: \"{path}\": missing value"
        ))
    })?;
    take(at, &key)
        .map(drop)
        .map_err(|e| failed(format!("error in remove for path: '{path}': {e}")))
}

fn replace(document: &mut Value, operation: &Map<String, Value>) -> Result<(), JsonPatchError> {
    let path = path(operation, "path", "replace")?;
    let new = value(operation);
    if path.is_empty() {
        if !new.is_object() && !new.is_array() {
            return Err(failed(
                "replace operation value must be object or array: %!w(<nil>)",
            ));
        }
        *document = new;
        return Ok(());
    }
    let (at, key) = container(document, path).ok_or_else(|| {
        failed(format!(
            "replace operation does not apply: doc is missing path: {path}: missing value"
        ))
    })?;
    if get(at, &key).is_err() {
        return Err(failed(format!(
            "replace operation does not apply: doc is missing key: {path}: missing value"
        )));
    }
    match at {
        Value::Array(items) => {
            let at = index(&key, items.len()).map_err(failed)?;
            items[at] = new;
            Ok(())
        }
        other => put(other, key, new).map_err(failed),
    }
}

fn shift(document: &mut Value, operation: &Map<String, Value>) -> Result<(), JsonPatchError> {
    let from = path(operation, "from", "move")?;
    let (at, key) = container(document, from).ok_or_else(|| {
        failed(format!(
            "move operation does not apply: doc is missing from path: {from}: missing value"
        ))
    })?;
    let moved =
        take(at, &key).map_err(|e| failed(format!("error in move for path: '{key}': {e}")))?;
    let path = path(operation, "path", "move")?;
    let (at, key) = container(document, path).ok_or_else(|| {
        failed(format!(
            "move operation does not apply: doc is missing destination path: {path}: missing value"
        ))
    })?;
    put(at, key, moved).map_err(|e| failed(format!("error in move for path: '{path}': {e}")))
}

fn test(document: &mut Value, operation: &Map<String, Value>) -> Result<(), JsonPatchError> {
    let path = path(operation, "path", "test")?;
    let wanted = operation.get("value").unwrap_or(&Value::Null);
    let equal = if path.is_empty() {
        document == wanted
    } else {
        let (at, key) = container(document, path).ok_or_else(|| {
            failed(format!(
                "test operation does not apply: is missing path: {path}: missing value"
            ))
        })?;
        let found =
            get(at, &key).map_err(|e| failed(format!("error in test for path: '{path}': {e}")))?;
        found.unwrap_or(&Value::Null) == wanted
    };
    if equal {
        Ok(())
    } else {
        Err(JsonPatchError::TestFailed(path.into()))
    }
}

fn copy(
    document: &mut Value,
    operation: &Map<String, Value>,
    copied: &mut usize,
) -> Result<(), JsonPatchError> {
    let from = path(operation, "from", "copy")?;
    let (at, key) = container(document, from).ok_or_else(|| {
        failed(format!(
            "copy operation does not apply: doc is missing from path: {from}: missing value"
        ))
    })?;
    let value = get(at, &key)
        .map_err(|e| failed(format!("error in copy for from: '{from}': {e}")))?
        .cloned()
        .unwrap_or(Value::Null);
    let path = path(operation, "path", "copy")?;
    *copied += value.to_string().len();
    let (at, key) = container(document, path).ok_or_else(|| {
        failed(format!(
            "copy operation does not apply: doc is missing destination path: {path}: missing value"
        ))
    })?;
    if *copied > MAX_COPY_BYTES {
        return Err(JsonPatchError::CopySize(*copied));
    }
    put(at, key, value).map_err(|e| failed(format!("error while adding value during copy: {e}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn apply(document: Value, patch: Value) -> Result<Value, String> {
        let mut document = document;
        JsonPatch::decode(&patch, true)
            .and_then(|p| p.apply(&mut document))
            .map_err(|e| e.to_string())?;
        Ok(document)
    }

    #[test]
    fn applied() {
        for (document, patch, wanted) in [
            (json!({"a": 1}), json!([]), json!({"a": 1})),
            (json!({"a": 1}), json!(null), json!({"a": 1})),
            (
                json!({}),
                json!([{"op": "add", "path": "/a", "value": {"b": 1}}]),
                json!({"a": {"b": 1}}),
            ),
            (
                json!({}),
                json!([{"op": "add", "path": "/a"}]),
                json!({"a": null}),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "add", "path": "/a/1", "value": 9}]),
                json!({"a": [1, 9, 2]}),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "add", "path": "/a/-", "value": 9}]),
                json!({"a": [1, 2, 9]}),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "add", "path": "/a/2", "value": 9}]),
                json!({"a": [1, 2, 9]}),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "add", "path": "/a/-1", "value": 9}]),
                json!({"a": [1, 2, 9]}),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "remove", "path": "/a/-1"}]),
                json!({"a": [1]}),
            ),
            (
                json!({"a": [1, 2]}),
                json!([{"op": "replace", "path": "/a/0", "value": 5}]),
                json!({"a": [5, 2]}),
            ),
            (
                json!({"a": {"b/c": 1, "d~e": 2}}),
                json!([{"op": "remove", "path": "/a/b~1c"}, {"op": "remove", "path": "/a/d~0e"}]),
                json!({"a": {}}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "replace", "path": "/b", "value": 2}]),
                json!({"a": 1, "b": 2}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "replace", "path": "", "value": {"c": 1}}]),
                json!({"c": 1}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "move", "from": "/a", "path": "/b"}]),
                json!({"b": 1}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "copy", "from": "/a", "path": "/b"}]),
                json!({"a": 1, "b": 1}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "copy", "from": "/x", "path": "/b"}]),
                json!({"a": 1, "b": null}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "test", "path": "/a", "value": 1}, {"op": "test", "path": "/x", "value": null}, {"op": "test", "path": "/x"}]),
                json!({"a": 1}),
            ),
            (
                json!({"a": [{"b": 1}]}),
                json!([{"op": "test", "path": "/a/0", "value": {"b": 1}}, {"op": "add", "path": "/a/0/c", "value": 2}]),
                json!({"a": [{"b": 1, "c": 2}]}),
            ),
            (
                json!({"a": 1}),
                json!([{"op": "remove", "path": "x/a"}]),
                json!({}),
            ),
            (
                json!({"": 1}),
                json!([{"op": "remove", "path": "/"}]),
                json!({}),
            ),
        ] {
            assert_eq!(
                apply(document, patch.clone()).unwrap_or_else(|e| panic!("{patch}: {e}")),
                wanted,
                "{patch}"
            );
        }
    }

    #[test]
    fn refused() {
        for (document, patch, wanted) in [
            (
                json!({}),
                json!([{"op": "add", "path": "/a/b", "value": 1}]),
                "add operation does not apply: doc is missing path: \"/a/b\": missing value",
            ),
            (
                json!({"a": 1}),
                json!([{"op": "add", "path": "/a/b", "value": 1}]),
                "add operation does not apply: doc is missing path: \"/a/b\": missing value",
            ),
            (
                json!({}),
                json!([{"op": "add", "path": "", "value": 1}]),
                "add operation does not apply: doc is missing path: \"\": missing value",
            ),
            (
                json!({"a": []}),
                json!([{"op": "add", "path": "/a/1", "value": 1}]),
                "error in add for path: '/a/1': Unable to access invalid index: 1: invalid index referenced",
            ),
            (
                json!({}),
                json!([{"op": "remove", "path": "/a"}]),
                "error in remove for path: '/a': Unable to remove nonexistent key: a: missing value",
            ),
            (
                json!({"a": []}),
                json!([{"op": "replace", "path": "/a/0", "value": 1}]),
                "replace operation does not apply: doc is missing key: /a/0: missing value",
            ),
            (
                json!({"a": 1}),
                json!([{"op": "replace", "path": "", "value": 1}]),
                "replace operation value must be object or array: %!w(<nil>)",
            ),
            (
                json!({"a": 1}),
                json!([{"op": "test", "path": "/a", "value": 2}]),
                "testing value /a failed: test failed",
            ),
            (
                json!({"a": 1}),
                json!([{"op": "test", "path": "/a/b/c"}]),
                "test operation does not apply: is missing path: /a/b/c: missing value",
            ),
            (
                json!({}),
                json!([{"op": "move", "from": "/a", "path": "/b"}]),
                "error in move for path: 'a': Unable to remove nonexistent key: a: missing value",
            ),
            (json!({}), json!([{"op": "nope"}]), "Unexpected kind: nope"),
            (json!({}), json!([null]), "Unexpected kind: unknown"),
            (
                json!({}),
                json!([{"op": "add"}]),
                "add operation failed to decode path: missing value",
            ),
            (
                json!({}),
                json!({"op": "add"}),
                "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp",
            ),
            (
                json!({}),
                json!(["x"]),
                "error decoding patch: json: cannot unmarshal string into Go value of type handlers.jsonPatchOp",
            ),
            (
                json!({}),
                json!([{"op": 1}]),
                "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string",
            ),
        ] {
            assert_eq!(
                apply(document, patch.clone()).unwrap_err(),
                wanted,
                "{patch}"
            );
        }
        let many = Value::Array(vec![json!({"op": "test", "path": "/a"}); 10_001]);
        assert_eq!(
            apply(json!({}), many).unwrap_err(),
            "The allowed maximum operations in a JSON patch is 10000, got 10001"
        );
        let mut doubling = vec![json!({"op": "add", "path": "/a0", "value": "x".repeat(1 << 20)})];
        doubling
            .extend((0..4).map(|i| json!({"op": "copy", "from": "/a0", "path": format!("/b{i}")})));
        assert!(
            apply(json!({}), doubling.into()).unwrap_err().starts_with(
                "Unable to complete the copy, the accumulated size increase of copy is "
            )
        );
        assert_eq!(
            JsonPatch::decode(&json!([{"op": "test", "path": "/a", "foo": 1}]), true)
                .unwrap()
                .unknown,
            ["[0].foo"]
        );
    }
}
