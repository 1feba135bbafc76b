//! Documents of OpenAPI 2 as values: which definitions they use, and a part of one.
//!
//! Invariant: what a part refers to, it has.
//! Follows kube-openapi's `pkg/aggregator/walker.go` and `pkg/aggregator/aggregator.go` (FilterSpecByPaths).

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

pub const DEFINITIONS: &str = "#/definitions/";
const PARAMETERS: &str = "#/parameters/";

/// The part of a document whose paths begin so, its parameters written out.
pub fn below(mut document: Value, prefix: &str) -> Value {
    let parameters = taken(&mut document, "parameters");
    let mut paths = taken(&mut document, "paths");
    paths.retain(|path, _| path.starts_with(prefix));
    for item in paths.values_mut() {
        write_out(item, &parameters);
    }
    let definitions = taken(&mut document, "definitions");
    let definitions = used(&paths, definitions);
    json!({"paths": paths, "definitions": definitions})
}

fn taken(document: &mut Value, field: &str) -> Map<String, Value> {
    match document.get_mut(field).map(Value::take) {
        Some(Value::Object(map)) => map,
        _ => Map::new(),
    }
}

/// Parameters that are shared stand in their places.
fn write_out(value: &mut Value, parameters: &Map<String, Value>) {
    let shared = value
        .get("$ref")
        .and_then(Value::as_str)
        .and_then(|of| parameters.get(of.strip_prefix(PARAMETERS)?));
    if let Some(shared) = shared {
        *value = shared.clone();
        return;
    }
    match value {
        Value::Object(map) => map
            .values_mut()
            .for_each(|child| write_out(child, parameters)),
        Value::Array(list) => list
            .iter_mut()
            .for_each(|child| write_out(child, parameters)),
        _ => {}
    }
}

/// The definitions that paths lead to.
pub fn used(paths: &Map<String, Value>, mut all: Map<String, Value>) -> Map<String, Value> {
    let mut open = BTreeSet::new();
    paths.values().for_each(|item| names(item, &mut open));
    let mut used = Map::new();
    while let Some(name) = open.pop_first() {
        if let Some(definition) = all.remove(&name) {
            names(&definition, &mut open);
            used.insert(name, definition);
        }
    }
    used
}

/// The definitions that a value refers to.
fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            let of = map.get("$ref").and_then(Value::as_str);
            into.extend(
                of.and_then(|of| of.strip_prefix(DEFINITIONS))
                    .map(str::to_owned),
            );
            map.values().for_each(|child| names(child, into));
        }
        Value::Array(list) => list.iter().for_each(|child| names(child, into)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_has_what_it_refers_to() {
        let document = json!({
            "parameters": {"pretty": {"name": "pretty", "in": "query"}},
            "paths": {
                "/apis/a.b/v1/": {"get": {"parameters": [{"$ref": "#/parameters/pretty"}], "responses": {"200": {"schema": {"$ref": "#/definitions/List"}}}}},
                "/apis/a.b/v2/": {"get": {"responses": {"200": {"schema": {"$ref": "#/definitions/Other"}}}}}
            },
            "definitions": {"List": {"items": {"$ref": "#/definitions/Item"}}, "Item": {"$ref": "#/definitions/List"}, "Other": {}}
        });
        let part = below(document, "/apis/a.b/v1/");
        let keys = |field: &str| -> Vec<String> {
            part[field].as_object().unwrap().keys().cloned().collect()
        };
        assert_eq!(
            (keys("paths"), keys("definitions")),
            (
                vec!["/apis/a.b/v1/".to_owned()],
                vec!["Item".to_owned(), "List".to_owned()]
            )
        );
        let parameters = &part["paths"]["/apis/a.b/v1/"]["get"]["parameters"];
        assert_eq!(parameters, &json!([{"name": "pretty", "in": "query"}]));
    }
}
