//! Strategic merge as kustomize does it: what a patch names in a list comes first, in the patch's order.
//! Invariant: without a schema a list is replaced as a whole; a directive that is not known is refused. What other programs take for directives
//! (`$retainKeys`, `$setElementOrder/…`, `$deleteFromPrimitiveList/…`) are fields like any other, as in kustomize.
//! Behaviour follows `sigs.k8s.io/kustomize/kyaml/yaml/merge2` and `walk`.

use crate::error::Problem;
use crate::typed::Read;
use serde_json::{Map, Value};
use skiff_api::machinery::schema::Node;

const DIRECTIVE: &str = "$patch";

/// What a map or a list says is to be done.
#[derive(Clone, Copy, PartialEq)]
enum Directive {
    Merge,
    Replace,
    Delete,
}

impl Directive {
    fn of(said: Option<&Value>) -> Result<Directive, Problem> {
        match said {
            None | Some(Value::Null) => Ok(Directive::Merge),
            Some(Value::String(word)) if word == "merge" => Ok(Directive::Merge),
            Some(Value::String(word)) if word == "replace" => Ok(Directive::Replace),
            Some(Value::String(word)) if word == "delete" => Ok(Directive::Delete),
            Some(other) => {
                let word = other
                    .as_str()
                    .map_or_else(|| other.to_string(), String::from);
                Err(format!("unknown patch strategy '{word}'").into())
            }
        }
    }

    /// That of a list stands in an element of its own.
    fn of_list(list: &[Value]) -> Result<Directive, Problem> {
        Directive::of(
            list.iter()
                .find(|one| is_directive(one))
                .map(|one| one.at(DIRECTIVE)),
        )
    }
}

fn is_directive(element: &Value) -> bool {
    let map = element.as_object();
    map.is_some_and(|map| map.len() == 1 && map.contains_key(DIRECTIVE))
}

/// Merges a patch into an object; whether anything is left of it. A patch that replaces a whole object changes nothing.
///
/// # Errors
/// A directive that is not known, and values of another form than those that they are merged into.
pub fn merge(into: &mut Value, patch: &Value, schema: Option<Node<'_>>) -> Result<bool, Problem> {
    if Directive::of(patch.some(DIRECTIVE))? == Directive::Replace {
        return Ok(true);
    }
    let merged = walk(into.take(), patch, schema)?;
    let left = merged.is_some();
    *into = merged.unwrap_or_default();
    Ok(left)
}

/// What comes of a value and a patch to it; nothing where it is gone.
fn walk(old: Value, patch: &Value, schema: Option<Node<'_>>) -> Result<Option<Value>, Problem> {
    match (old, patch) {
        (_, Value::Null) => Ok(None),
        (Value::Null, patch) => made(patch, schema),
        (Value::Object(old), Value::Object(patch)) => map(old, patch, schema),
        (Value::Array(old), Value::Array(patch)) => list(old, patch, schema),
        (old, patch) if node(&old) == node(patch) => Ok(Some(patch.clone())),
        (old, patch) => Err(format!(
            "wrong node kind: expected {} but got {}: node contents:\n{}",
            node(&old),
            node(patch),
            crate::yaml::write(patch)
        )
        .into()),
    }
}

/// What YAML's parser calls a value.
pub fn node(value: &Value) -> &'static str {
    match value {
        Value::Object(_) => "MappingNode",
        Value::Array(_) => "SequenceNode",
        _ => "ScalarNode",
    }
}

fn map(
    mut old: Map<String, Value>,
    patch: &Map<String, Value>,
    schema: Option<Node<'_>>,
) -> Result<Option<Value>, Problem> {
    match Directive::of(patch.get(DIRECTIVE))? {
        Directive::Delete => return Ok(None),
        Directive::Replace => return fields(patch, schema).map(Some),
        Directive::Merge => {}
    }
    for (name, patch) in patch.iter().filter(|(name, _)| *name != DIRECTIVE) {
        let child = schema.and_then(|s| s.child(name));
        let before = old.get_mut(name).map(Value::take).unwrap_or_default();
        match walk(before, patch, child)? {
            Some(value) => _ = old.insert(name.clone(), value),
            None => _ = old.remove(name),
        }
    }
    Ok(Some(Value::Object(old)))
}

/// What a patch comes to where nothing was.
fn made(patch: &Value, schema: Option<Node<'_>>) -> Result<Option<Value>, Problem> {
    match patch {
        Value::Null => Ok(None),
        Value::Object(map) => match Directive::of(map.get(DIRECTIVE))? {
            Directive::Delete => Ok(None),
            _ => fields(map, schema).map(Some),
        },
        Value::Array(patch) => list(Vec::new(), patch, schema),
        other => Ok(Some(other.clone())),
    }
}

fn fields(map: &Map<String, Value>, schema: Option<Node<'_>>) -> Result<Value, Problem> {
    let mut out = Map::new();
    for (name, value) in map.iter().filter(|(name, _)| *name != DIRECTIVE) {
        if let Some(value) = made(value, schema.and_then(|s| s.child(name)))? {
            out.insert(name.clone(), value);
        }
    }
    Ok(Value::Object(out))
}

fn list(
    mut old: Vec<Value>,
    patch: &[Value],
    schema: Option<Node<'_>>,
) -> Result<Option<Value>, Problem> {
    let elements = || patch.iter().filter(|one| !is_directive(one));
    let Some(field) = schema.and_then(|s| s.field()).filter(|f| f.merge) else {
        return Ok(Some(elements().cloned().collect()));
    };
    match Directive::of_list(patch)? {
        Directive::Delete => return Ok(None),
        Directive::Replace => old.clear(),
        Directive::Merge => {}
    }
    let mut first: Vec<Value> = Vec::new();
    let Some(key) = field.merge_key.as_deref() else {
        for one in elements() {
            old.retain(|other| other != one);
            if !first.contains(one) {
                first.push(one.clone());
            }
        }
        first.append(&mut old);
        return Ok(Some(Value::Array(first)));
    };
    let element = schema.and_then(|s| s.element());
    let keys = keys(key, &old, patch);
    let same = |a: &Value, b: &Value| keys.iter().all(|key| a.at(key) == b.at(key));
    for one in elements() {
        let merged = match old.iter().position(|other| same(other, one)) {
            None => made(one, element)?,
            Some(at) => match (old.remove(at), Directive::of(one.some(DIRECTIVE))?) {
                // An element that is to be replaced is found again by its key, and stays.
                (before, Directive::Replace) => Some(before),
                (before, _) => walk(before, one, element)?,
            },
        };
        first.extend(merged.filter(|one| one.as_object().is_none_or(|map| !map.is_empty())));
    }
    first.append(&mut old);
    Ok(Some(Value::Array(first)))
}

/// The fields that tell elements of a list apart: ports are told by their protocol, too, where one names it.
fn keys<'a>(key: &'a str, old: &[Value], patch: &[Value]) -> Vec<&'a str> {
    let both = ["containerPort", "port"].contains(&key)
        && old
            .iter()
            .chain(patch)
            .any(|one| one.some("protocol").is_some());
    if both {
        vec![key, "protocol"]
    } else {
        vec![key]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_new_comes_first() {
        let pod = |containers: Value| json!({"apiVersion": "v1", "kind": "Pod", "spec": {"containers": containers}});
        let mut object = pod(json!([{"name": "a", "image": "x"}, {"name": "b"}]));
        let patch = pod(
            json!([{"name": "new"}, {"name": "a", "image": "y"}, {"name": "b", "$patch": "delete"}]),
        );
        let schema = crate::typed::schema(&object);
        assert!(merge(&mut object, &patch, schema).unwrap());
        assert_eq!(
            object,
            pod(json!([{"name": "new"}, {"name": "a", "image": "y"}]))
        );
        let mut custom = json!({"a": [1], "b": {"c": 1, "d": 2}});
        let patch = json!({"a": [2], "b": {"c": null}});
        assert!(merge(&mut custom, &patch, None).unwrap());
        assert_eq!(custom, json!({"a": [2], "b": {"d": 2}}));
        assert!(!merge(&mut custom, &json!({"$patch": "delete"}), None).unwrap());
    }

    #[test]
    fn directives_are_known_or_refused() {
        let merged = |old: Value, patch: Value| {
            let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "spec": old});
            let schema = crate::typed::schema(&pod);
            merge(&mut pod, &json!({"spec": patch}), schema).map(|_| pod["spec"].take())
        };
        let two = || json!({"containers": [{"name": "a"}, {"name": "b"}]});
        for (patch, want) in [
            (
                json!({"containers": [{"name": "b", "image": "x"}]}),
                json!({"containers": [{"name": "b", "image": "x"}, {"name": "a"}]}),
            ),
            (json!({"containers": [{"$patch": "delete"}]}), json!({})),
            (
                json!({"containers": [{"name": "c"}, {"$patch": "replace"}]}),
                json!({"containers": [{"name": "c"}]}),
            ),
            (
                json!({"$patch": "replace", "x": {"a": null, "b": {"$patch": "delete"}}}),
                json!({"x": {}}),
            ),
            (
                json!({"$retainKeys": ["x"], "containers": null}),
                json!({"$retainKeys": ["x"]}),
            ),
        ] {
            assert_eq!(merged(two(), patch.clone()).unwrap(), want, "{patch}");
        }
        for (patch, want) in [
            (json!({"$patch": 5}), "unknown patch strategy '5'"),
            (
                json!({"containers": [{"name": "a", "$patch": "foo"}]}),
                "unknown patch strategy 'foo'",
            ),
            (
                json!({"containers": "x"}),
                "wrong node kind: expected SequenceNode but got ScalarNode: node contents:\nx\n",
            ),
        ] {
            assert_eq!(merged(two(), patch).unwrap_err().to_string(), want);
        }
    }
}
