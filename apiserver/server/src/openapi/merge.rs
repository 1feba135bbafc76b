//! Documents of servers behind this one, put into this server's own.
//!
//! Invariant: paths and definitions that are here stay as they are; a definition of the same name that says something else goes by another name.
//! Follows kube-openapi's `pkg/aggregator/aggregator.go`.

use std::{borrow::Cow, collections::BTreeMap};

use serde_json::{Map, Value};
use skiff_api::machinery::read::Read;

use crate::aggregation::spec::{DEFINITIONS, used};

/// Kinds whose definition one is; of one that several servers have alike, those of all.
const KINDS: &str = "x-kubernetes-group-version-kind";

/// Puts the paths of `part`, and the definitions that they lead to, into a document of OpenAPI 2.
pub fn merge(document: &mut Value, part: &Value) {
    let mut paths: Map<String, Value> = part.map("paths").cloned().unwrap_or_default();
    paths.retain(|path, _| document.at("paths").some(path).is_none());
    let definitions = part.map("definitions").cloned().unwrap_or_default();
    let mut definitions = used(&paths, definitions);
    let renamed = renamed(document.at("definitions"), &definitions);
    paths.values_mut().for_each(|item| refer(item, &renamed));
    definitions
        .values_mut()
        .for_each(|definition| refer(definition, &renamed));
    for (name, definition) in definitions {
        let name = renamed.get(&name).cloned().unwrap_or(name);
        match document["definitions"].get_mut(&name) {
            Some(here) => join_kinds(here, &definition),
            None => document["definitions"][name] = definition,
        }
    }
    for (path, item) in paths {
        document["paths"][path] = item;
    }
}

/// The definitions that go by other names.
fn renamed(here: &Value, theirs: &Map<String, Value>) -> BTreeMap<String, String> {
    let mut renamed = BTreeMap::new();
    for (name, definition) in theirs {
        let differs = |name: &str| {
            here.some(name)
                .is_some_and(|here| bare(here) != bare(definition))
        };
        if !differs(name) {
            continue;
        }
        let taken = |other: &str| differs(other) || theirs.contains_key(other);
        if let Some(other) = (2..)
            .map(|number: u32| format!("{name}_v{number}"))
            .find(|other| !taken(other))
        {
            renamed.insert(name.clone(), other);
        }
    }
    renamed
}

/// A definition without the kinds that it is of.
fn bare(definition: &Value) -> Cow<'_, Value> {
    match definition {
        Value::Object(map) if map.contains_key(KINDS) => {
            let mut map = map.clone();
            map.remove(KINDS);
            Cow::Owned(Value::Object(map))
        }
        other => Cow::Borrowed(other),
    }
}

fn join_kinds(here: &mut Value, theirs: &Value) {
    let more: Vec<Value> = theirs
        .list(KINDS)
        .iter()
        .filter(|kind| !here.list(KINDS).contains(kind))
        .cloned()
        .collect();
    if !more.is_empty() {
        let mut all = here.list(KINDS).to_vec();
        all.extend(more);
        here[KINDS] = all.into();
    }
}

/// References lead to the new names.
fn refer(value: &mut Value, renamed: &BTreeMap<String, String>) {
    match value {
        Value::Object(map) => {
            for (key, child) in map {
                let other = child
                    .as_str()
                    .filter(|_| key == "$ref")
                    .and_then(|of| renamed.get(of.strip_prefix(DEFINITIONS)?));
                match other {
                    Some(other) => *child = format!("{DEFINITIONS}{other}").into(),
                    None => refer(child, renamed),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|child| refer(child, renamed)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_says_something_else_goes_by_another_name() {
        let refers = |to: &str| json!({"get": {"schema": {"$ref": format!("#/definitions/{to}")}}});
        let mut document = json!({
            "paths": {"/apis/a/v1/": refers("A")},
            "definitions": {"A": {"type": "object", KINDS: [{"kind": "A"}]}, "B": {"type": "string"}, "B_v2": {"type": "number"}}
        });
        let part = json!({
            "paths": {"/apis/a/v1/": refers("C"), "/apis/b/v1/": refers("A"), "/apis/b/v1/bs": refers("B")},
            "definitions": {"A": {"type": "object", KINDS: [{"kind": "Z"}]}, "B": {"type": "object", "items": {"$ref": "#/definitions/B"}}, "C": {}}
        });
        merge(&mut document, &part);
        assert_eq!(
            document,
            json!({
                "paths": {"/apis/a/v1/": refers("A"), "/apis/b/v1/": refers("A"), "/apis/b/v1/bs": refers("B_v3")},
                "definitions": {
                    "A": {"type": "object", KINDS: [{"kind": "A"}, {"kind": "Z"}]}, "B": {"type": "string"}, "B_v2": {"type": "number"},
                    "B_v3": {"type": "object", "items": {"$ref": "#/definitions/B_v3"}}
                }
            })
        );
    }
}
