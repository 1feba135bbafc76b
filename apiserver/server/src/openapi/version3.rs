//! The model in the form of OpenAPI 3, with the definitions that its paths lead to.
//!
//! Follows kube-openapi's `pkg/openapiconv`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};
use skiff_api::machinery::read::Read;

const OLD: &str = "#/definitions/";
const NEW: &str = "#/components/schemas/";

/// What is one of several types, which version 2 cannot say (`OpenAPIV3OneOfTypes` of the types).
const EITHER: &[(&str, &[&str])] = &[
    (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        &["string", "number"],
    ),
    (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        &["integer", "string"],
    ),
];

/// The document that a path stands in: that of its group and version, or of its own root.
pub fn document_of(path: &str) -> &str {
    let path = path.trim_matches('/');
    let parts = match path.split('/').next() {
        Some("api") => 2,
        Some("apis") => 3,
        _ => return path,
    };
    let ends = path.match_indices('/').nth(parts - 1);
    ends.map_or(path, |(at, _)| &path[..at])
}

/// From a document of version 2, whose definitions `definition` finds by their names.
pub fn document(mut model: Value, definition: impl Fn(&str) -> Option<Value>) -> Value {
    let mut paths = Map::new();
    if let Value::Object(items) = model["paths"].take() {
        for (path, item) in items {
            paths.insert(path, path_item(item));
        }
    }
    let mut wanted = BTreeSet::new();
    names(&Value::Object(paths.clone()), &mut wanted);
    let mut schemas = Map::new();
    let mut open: Vec<String> = wanted.iter().cloned().collect();
    while let Some(name) = open.pop() {
        if schemas.contains_key(&name) {
            continue;
        }
        let mut schema = schema(definition(&name).unwrap_or_default(), false);
        if let Some((_, types)) = EITHER.iter().find(|(of, _)| *of == name) {
            schema["oneOf"] = types.iter().map(|of| json!({"type": of})).collect();
            if let Some(map) = schema.as_object_mut() {
                map.remove("type");
            }
        }
        let mut found = BTreeSet::new();
        names(&schema, &mut found);
        open.extend(found);
        schemas.insert(name, schema);
    }
    let mut components =
        json!({"securitySchemes": {"BearerToken": model["securityDefinitions"]["BearerToken"]}});
    if !schemas.is_empty() {
        components["schemas"] = schemas.into();
    }
    json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "1.36"}, "paths": paths, "components": components})
}

/// The definitions that a value refers to.
fn names(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(name) = map
                .get("$ref")
                .and_then(Value::as_str)
                .and_then(|reference| reference.strip_prefix(NEW))
            {
                into.insert(name.into());
            }
            map.values().for_each(|child| names(child, into));
        }
        Value::Array(list) => list.iter().for_each(|child| names(child, into)),
        _ => {}
    }
}

/// A schema: references move, and beside one nothing else may stand. `bare` keeps structs without a default.
fn schema(value: Value, bare: bool) -> Value {
    let Value::Object(map) = value else {
        return value;
    };
    let mut out = Map::new();
    for (key, child) in map {
        let child = match key.as_str() {
            "properties" => match child {
                Value::Object(fields) => Value::Object(
                    fields
                        .into_iter()
                        .map(|(name, field)| (name, schema(field, true)))
                        .collect(),
                ),
                other => other,
            },
            "items" | "additionalProperties" => schema(child, true),
            "$ref" => child.as_str().map(|text| text.replacen(OLD, NEW, 1)).into(),
            _ => child,
        };
        out.insert(key, child);
    }
    if bare
        && out.len() > 1
        && let Some(reference) = out.remove("$ref")
    {
        out.insert("allOf".into(), json!([{"$ref": reference}]));
    }
    Value::Object(out)
}

fn path_item(item: Value) -> Value {
    let Value::Object(map) = item else {
        return item;
    };
    Value::Object(
        map.into_iter()
            .map(|(key, value)| match key.as_str() {
                "parameters" => (
                    key,
                    value
                        .as_array()
                        .into_iter()
                        .flatten()
                        .map(parameter)
                        .collect(),
                ),
                _ => (key, operation(value)),
            })
            .collect(),
    )
}

fn parameter(old: &Value) -> Value {
    let mut new = old.clone();
    if let Some(map) = new.as_object_mut() {
        let unique = map.remove("uniqueItems").unwrap_or(Value::Null);
        let kind = map.remove("type").unwrap_or(Value::Null);
        map.insert(
            "schema".into(),
            json!({"type": kind, "uniqueItems": unique}),
        );
    }
    new
}

fn operation(mut old: Value) -> Value {
    let content = |media: &Value, of: Value| -> Value {
        Value::Object(
            media
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(|media| (media.to_string(), json!({"schema": of})))
                .collect(),
        )
    };
    let (consumes, produces) = (old["consumes"].take(), old["produces"].take());
    let Some(map) = old.as_object_mut() else {
        return old;
    };
    for key in ["consumes", "produces", "schemes"] {
        map.remove(key);
    }
    if let Some(Value::Array(parameters)) = map.remove("parameters") {
        let (bodies, others): (Vec<Value>, Vec<Value>) = parameters
            .into_iter()
            .partition(|parameter| parameter.text("in") == "body");
        if let Some(body) = bodies.into_iter().next() {
            let mut new =
                json!({"content": content(&consumes, schema(body.at("schema").clone(), false))});
            if body.flag("required") {
                new["required"] = true.into();
            }
            map.insert("requestBody".into(), new);
        }
        if !others.is_empty() {
            map.insert("parameters".into(), others.iter().map(parameter).collect());
        }
    }
    for response in map
        .get_mut("responses")
        .and_then(Value::as_object_mut)
        .into_iter()
        .flat_map(Map::values_mut)
    {
        if let Some(of) = response
            .as_object_mut()
            .and_then(|response| response.remove("schema"))
        {
            response["content"] = content(&produces, schema(of, false));
        }
    }
    old
}
