//! JSON Merge Patch (RFC 7386), and the making of such patches.
//!
//! Invariant: a patch applied to the document that it was made from gives the document that it was made for, as far as the format can say it
//! (it cannot set null). As the library upstream uses does, nulls inside objects inside new lists are taken out, too.
//! Follows `gopkg.in/evanphx/json-patch.v4/merge.go` and upstream's `apimachinery/pkg/util/{jsonmergepatch,mergepatch}`.

use serde_json::{Map, Value};

use super::Precondition;
use super::go::GoValue;

/// Why a merge patch cannot be applied or made.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum MergePatchError {
    /// The patch is no object. The server answers with 400.
    #[error("{0}")]
    Decode(String),
    /// A document to compare is no object.
    #[error("Invalid JSON Document")]
    Document,
    /// What was applied last and what is live were changed in different ways.
    #[error("patch:\n{patch}\nconflicts with changes made from original to current:\n{changed}\n")]
    Conflict { patch: Value, changed: Value },
    /// The patch would change what it must not.
    #[error("precondition failed for: {}", GoValue(.0))]
    Precondition(Value),
}

/// Applies a patch. With `validate` (the request's `fieldValidation` is not `Ignore`) errors are told in the words of that check; without it, a list
/// takes the document's place.
pub fn apply(document: &mut Value, patch: Value, validate: bool) -> Result<(), MergePatchError> {
    let refuse = |kind: &str| {
        Err(MergePatchError::Decode(if validate {
            format!(
                "error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            )
        } else {
            "Invalid JSON Patch".into()
        }))
    };
    match patch {
        Value::Object(patch) => {
            if !document.is_object() {
                *document = Value::Object(Map::new());
            }
            if let Value::Object(document) = document {
                merge_objects(document, patch);
            }
            Ok(())
        }
        Value::Null => Err(MergePatchError::Decode("Invalid JSON Patch".into())),
        Value::Array(mut items) if !validate => {
            items.iter_mut().for_each(prune_nulls);
            *document = Value::Array(items);
            Ok(())
        }
        Value::Array(_) => refuse("array"),
        Value::Bool(_) => refuse("bool"),
        Value::Number(_) => refuse("number"),
        Value::String(_) => refuse("string"),
    }
}

fn merge_objects(document: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (key, mut value) in patch {
        if value.is_null() {
            document.remove(&key);
            continue;
        }
        match (document.get_mut(&key), value) {
            (Some(Value::Object(current)), Value::Object(patch)) => merge_objects(current, patch),
            // Over an object, the library takes a list as it is.
            (Some(current @ Value::Object(_)), other) => *current = other,
            (_, other) => {
                value = other;
                prune_nulls(&mut value);
                document.insert(key, value);
            }
        }
    }
}

fn prune_nulls(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|_, v| !v.is_null());
            map.values_mut().for_each(prune_nulls);
        }
        Value::Array(items) => items.iter_mut().for_each(prune_nulls),
        _ => {}
    }
}

/// The patch that makes `modified` of `original`; both must be objects.
pub fn create(original: &Value, modified: &Value) -> Result<Value, MergePatchError> {
    match (original, modified) {
        (Value::Object(original), Value::Object(modified)) => {
            Ok(Value::Object(difference(original, modified)))
        }
        _ => Err(MergePatchError::Document),
    }
}

fn difference(original: &Map<String, Value>, modified: &Map<String, Value>) -> Map<String, Value> {
    let mut patch = Map::new();
    for (key, new) in modified {
        match (original.get(key), new) {
            (Some(Value::Object(old)), Value::Object(new)) => {
                let inner = difference(old, new);
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (Some(old), new) if equal(old, new) => {}
            _ => {
                patch.insert(key.clone(), new.clone());
            }
        }
    }
    for key in original.keys().filter(|k| !modified.contains_key(*k)) {
        patch.insert(key.clone(), Value::Null);
    }
    patch
}

/// Equality as the library sees it, which decodes every number as a float.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, a)| b.get(k).is_some_and(|b| equal(a, b)))
        }
        _ => a == b,
    }
}

/// The patch that brings `current` (live) to `modified` (wanted) and takes out what `original` (applied last) had and `modified` has not.
/// Null documents count as empty.
pub fn three_way(
    original: &Value,
    modified: &Value,
    current: &Value,
    preconditions: &[Precondition],
) -> Result<Value, MergePatchError> {
    let empty = Value::Object(Map::new());
    let or_empty = |v| {
        if Value::is_null(v) {
            empty.clone()
        } else {
            v.clone()
        }
    };
    let (original, modified, current) = (or_empty(original), or_empty(modified), or_empty(current));
    let changes = filter_nulls(create(&current, &modified)?, false);
    let mut patch = filter_nulls(create(&original, &modified)?, true);
    if conflict(&changes, &patch) {
        return Err(MergePatchError::Conflict {
            patch: changes,
            changed: patch,
        });
    }
    if let (Value::Object(patch), Value::Object(changes)) = (&mut patch, changes) {
        merge_objects(patch, changes);
    }
    match preconditions.iter().all(|p| p.holds(&patch)) {
        true => Ok(patch),
        false => Err(MergePatchError::Precondition(patch)),
    }
}

/// Keeps only the nulls of a patch, or all but them. An empty object is a value, not an empty patch.
fn filter_nulls(patch: Value, keep_nulls: bool) -> Value {
    let Value::Object(map) = patch else {
        return patch;
    };
    let mut kept = Map::new();
    for (key, value) in map {
        match value {
            Value::Null if keep_nulls => {
                kept.insert(key, Value::Null);
            }
            Value::Null => {}
            Value::Object(inner) if !inner.is_empty() => {
                let inner = filter_nulls(Value::Object(inner), keep_nulls);
                if inner.as_object().is_some_and(|m| !m.is_empty()) {
                    kept.insert(key, inner);
                }
            }
            other if !keep_nulls => {
                kept.insert(key, other);
            }
            _ => {}
        }
    }
    Value::Object(kept)
}

/// Whether two patches say different things about one field.
fn conflict(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Object(l), Value::Object(r)) => l
            .iter()
            .any(|(k, l)| r.get(k).is_some_and(|r| conflict(l, r))),
        (Value::Array(l), Value::Array(r)) => {
            l.len() != r.len() || l.iter().zip(r).any(|(l, r)| conflict(l, r))
        }
        _ => left != right,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// What is no object is refused, but a list that nobody looked at before.
    #[test]
    fn lists_in_place_of_documents() {
        let apply = |patch: Value, validate| {
            let mut document = json!({"a": 1});
            super::apply(&mut document, patch, validate).map(|()| document)
        };
        let list = json!([null, {"a": null, "b": 1}]);
        assert_eq!(apply(list.clone(), false), Ok(json!([null, {"b": 1}])));
        assert!(apply(list, true).is_err());
        for other in [json!(null), json!(1), json!("a"), json!(true)] {
            let refused = apply(other, false).map_err(|error| error.to_string());
            assert_eq!(refused, Err("Invalid JSON Patch".to_string()));
        }
    }

    #[test]
    fn applied() {
        for (document, patch, wanted) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
            (
                json!({}),
                json!({"a": [null, {"b": null, "c": 1}]}),
                json!({"a": [null, {"c": 1}]}),
            ),
            (
                json!({"a": {"x": 1}}),
                json!({"a": [{"b": null}]}),
                json!({"a": [{"b": null}]}),
            ),
        ] {
            let mut got = document.clone();
            apply(&mut got, patch.clone(), true).unwrap();
            assert_eq!(got, wanted, "{document} {patch}");
        }
        assert_eq!(
            apply(&mut json!({}), json!([1]), true)
                .unwrap_err()
                .to_string(),
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        );
        assert_eq!(
            apply(&mut json!({}), json!(null), true)
                .unwrap_err()
                .to_string(),
            "Invalid JSON Patch"
        );
        assert_eq!(
            apply(&mut json!({}), json!("x"), false)
                .unwrap_err()
                .to_string(),
            "Invalid JSON Patch"
        );
    }

    #[test]
    fn created() {
        for (original, modified, wanted) in [
            (json!({"a": 1}), json!({"a": 1}), json!({})),
            (json!({"a": 1}), json!({"a": 1.0}), json!({})),
            (
                json!({"a": 1, "b": {"c": 1, "d": 2}}),
                json!({"b": {"c": 3}}),
                json!({"a": null, "b": {"c": 3, "d": null}}),
            ),
            (
                json!({"a": [1]}),
                json!({"a": [1, 2]}),
                json!({"a": [1, 2]}),
            ),
            (json!({"a": {"b": 1}}), json!({"a": []}), json!({"a": []})),
        ] {
            assert_eq!(create(&original, &modified).unwrap(), wanted);
        }
        assert_eq!(
            create(&json!(1), &json!({})),
            Err(MergePatchError::Document)
        );
    }

    #[test]
    fn three_ways() {
        for (original, modified, current, wanted) in [
            (json!(null), json!({"a": 1}), json!({}), json!({"a": 1})),
            (
                json!({"a": 1, "b": 2}),
                json!({"a": 1}),
                json!({"a": 1, "b": 2, "c": 3}),
                json!({"b": null}),
            ),
            (
                json!({"a": 1}),
                json!({"a": 1}),
                json!({"a": 2}),
                json!({"a": 1}),
            ),
            (
                json!({"a": {"x": 1}}),
                json!({"a": {}}),
                json!({"a": {"x": 1, "y": 1}}),
                json!({"a": {"x": null}}),
            ),
            (
                json!({"a": [1, 2]}),
                json!({"a": [1]}),
                json!({"a": [1, 2]}),
                json!({"a": [1]}),
            ),
            (json!({}), json!({"a": {}}), json!({}), json!({"a": {}})),
        ] {
            assert_eq!(
                three_way(&original, &modified, &current, &[]).unwrap(),
                wanted
            );
        }
        let renamed = three_way(
            &json!({}),
            &json!({"metadata": {"name": "b"}}),
            &json!({"metadata": {"name": "a"}}),
            &Precondition::APPLY,
        );
        assert_eq!(
            renamed.unwrap_err().to_string(),
            "precondition failed for: map[metadata:map[name:b]]"
        );
    }
}
