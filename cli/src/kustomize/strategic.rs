//! Strategic merge as kustomize does it: what is new in a list comes first.
//! Invariant: without a schema a list is replaced as a whole; a directive never ends up in the object.
//! Behaviour follows `sigs.k8s.io/kustomize/kyaml/yaml/merge2`.

use crate::typed::Read;
use serde_json::Value;
use skiff_api::machinery::schema::Node;

const DIRECTIVE: &str = "$patch";

/// Merges a patch into a value; whether anything is left of it.
pub fn merge(into: &mut Value, patch: &Value, schema: Option<Node<'_>>) -> bool {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return true;
    };
    match patch.text(DIRECTIVE) {
        "delete" => return false,
        "replace" => {
            *into = without_directives(patch);
            return true;
        }
        _ => {}
    }
    if !into.is_object() {
        *into = Value::Object(Default::default());
    }
    for (name, value) in fields.iter().filter(|(name, _)| *name != DIRECTIVE) {
        let child = schema.and_then(|s| s.child(name));
        let kept = match (value, into.get_mut(name)) {
            (Value::Null, _) => false,
            (Value::Array(list), old) => {
                let merged = lists(old.map(Value::take), list, child);
                into[name] = merged;
                true
            }
            (value, Some(old)) => merge(old, value, child),
            (value, None) => {
                let mut new = Value::Null;
                let kept = merge(&mut new, value, child);
                into[name] = new;
                kept
            }
        };
        if !kept && let Some(map) = into.as_object_mut() {
            map.remove(name);
        }
    }
    true
}

fn lists(old: Option<Value>, patch: &[Value], schema: Option<Node<'_>>) -> Value {
    let field = schema.and_then(|s| s.field());
    let replaces = patch.iter().any(|one| one.text(DIRECTIVE) == "replace");
    let plain = || {
        let kept = patch.iter().filter(|one| one.text(DIRECTIVE).is_empty());
        Value::Array(kept.map(without_directives).collect())
    };
    let Some(field) = field.filter(|f| f.merge && !replaces) else {
        return plain();
    };
    let mut out = match old {
        Some(Value::Array(old)) => old,
        _ => Vec::new(),
    };
    let element = schema.and_then(|s| s.element());
    let Some(key) = field.merge_key.as_deref() else {
        let new: Vec<Value> = patch
            .iter()
            .filter(|one| !out.contains(one))
            .cloned()
            .collect();
        return Value::Array([new, out].concat());
    };
    let keys = keys(key, &out, patch);
    let same = |a: &Value, b: &Value| keys.iter().all(|key| a.at(key) == b.at(key));
    let mut new = Vec::new();
    for one in patch {
        match out.iter().position(|old| same(old, one)) {
            Some(at) => {
                if !merge(&mut out[at], one, element) {
                    out.remove(at);
                }
            }
            None => {
                let mut made = Value::Null;
                if merge(&mut made, one, element) {
                    new.push(made);
                }
            }
        }
    }
    Value::Array([new, out].concat())
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

fn without_directives(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let fields = map.iter().filter(|(name, _)| *name != DIRECTIVE);
            let fields = fields.filter(|(_, value)| !value.is_null());
            let fields = fields.map(|(name, value)| (name.clone(), without_directives(value)));
            Value::Object(fields.collect())
        }
        Value::Array(list) => Value::Array(list.iter().map(without_directives).collect()),
        other => other.clone(),
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
        assert!(merge(&mut object, &patch, schema));
        assert_eq!(
            object,
            pod(json!([{"name": "new"}, {"name": "a", "image": "y"}]))
        );
        let mut custom = json!({"a": [1], "b": {"c": 1, "d": 2}});
        assert!(merge(
            &mut custom,
            &json!({"a": [2], "b": {"c": null}}),
            None
        ));
        assert_eq!(custom, json!({"a": [2], "b": {"d": 2}}));
        assert!(!merge(&mut custom, &json!({"$patch": "delete"}), None));
    }
}
