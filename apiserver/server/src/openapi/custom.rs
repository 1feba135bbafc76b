//! What OpenAPI shows of kinds that definitions brought: their schemas as they were written, in the form of either version.
//!
//! Follows `staging/src/k8s.io/apiextensions-apiserver/pkg/controller/openapi/builder/builder.go` and `.../openapi/v2/conversion.go`.

use std::collections::HashMap;

use serde_json::{Map, Value, json};
use skiff_api::{
    kinds::{Kind, definition::Definition},
    machinery::read::Read,
};

use super::{
    Version,
    descriptions::Described,
    names::{META, reference},
};

/// A kind whose descriptions of what all objects have are taken.
const LIKE: &str = "io.k8s.api.core.v1.ConfigMap";
const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED: &str = "x-kubernetes-embedded-resource";
const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// The definition of a kind's objects. What cannot be read is shown as an object of which nothing is known.
pub fn object(
    kind: &Kind,
    definition: &Definition,
    told: &HashMap<&str, Described>,
    version: Version,
) -> Value {
    let read = definition.schema().unwrap_or_else(|why| {
        tracing::error!("the schema of {} cannot be shown: {why}", kind.resource());
        Value::Null
    });
    let unknown = version == Version::Two && read.flag(PRESERVE);
    let mut schema = if !read.is_object() || unknown {
        // whoever knew of some fields would refuse all others
        json!({"type": "object"})
    } else {
        let mut schema = read;
        shape(&mut schema, version);
        embed(&mut schema, told, version);
        type_meta(&mut schema, told);
        schema
    };
    schema["x-kubernetes-group-version-kind"] =
        json!([{"group": kind.group, "kind": kind.kind, "version": kind.version}]);
    tell_selectable(&mut schema, kind);
    schema
}

/// What the document of version 3 of a definition's group and version says of itself.
pub fn introduce(document: &mut Value) {
    document["info"] = json!({"title": "Kubernetes CRD Swagger", "version": "v0.1.0"});
    if let Some(components) = document["components"].as_object_mut() {
        components.remove("securitySchemes");
    }
}

/// Says by which fields objects that a definition brought can be selected.
pub fn tell_selectable(schema: &mut Value, kind: &Kind) {
    if kind.definition().is_some() && !kind.selectable.is_empty() {
        let fields = (kind.selectable.iter()).map(|field| json!({"fieldPath": field.path}));
        schema["x-kubernetes-selectable-fields"] = fields.collect();
    }
}

/// What a field of a type is for.
pub fn said(told: &HashMap<&str, Described>, of: &str, field: &str) -> String {
    told.get(of)
        .and_then(|described| described.fields.get(field))
        .cloned()
        .unwrap_or_default()
}

/// What all objects have.
fn type_meta(schema: &mut Value, told: &HashMap<&str, Described>) {
    for name in ["apiVersion", "kind"] {
        schema["properties"][name] =
            json!({"type": "string", "description": said(told, LIKE, name)});
    }
    let mut metadata = reference(&format!("{META}.ObjectMeta"));
    metadata["description"] = said(told, LIKE, "metadata").into();
    schema["properties"]["metadata"] = metadata;
}

/// Works on each schema within, the outer ones first.
fn each(schema: &mut Value, work: &mut dyn FnMut(&mut Value)) {
    work(schema);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(|inner| each(inner, work));
    }
    for name in ["items", "additionalProperties"] {
        if let Some(inner) = schema.get_mut(name).filter(|inner| inner.is_object()) {
            each(inner, work);
        }
    }
}

/// What a version of OpenAPI can say, and what its readers understand.
fn shape(schema: &mut Value, version: Version) {
    each(schema, &mut |schema| {
        let whole = schema.flag(INT_OR_STRING)
            && schema.some("anyOf").is_none()
            && schema.some("allOf").is_none();
        let Some(map) = schema.as_object_mut() else {
            return;
        };
        match version {
            Version::Three if whole => {
                map.insert(
                    "anyOf".into(),
                    json!([{"type": "integer"}, {"type": "string"}]),
                );
            }
            Version::Three => {}
            Version::Two => in_version2(map),
        }
    });
}

fn in_version2(map: &mut Map<String, Value>) {
    // nullable ones lose their type below, and nobody can ask for them then
    let nullable: Vec<String> = map
        .entries("properties")
        .filter(|(_, property)| property.flag("nullable"))
        .map(|(name, _)| name.to_string())
        .collect();
    let additional = map.at("additionalProperties").flag("nullable");
    if let Some(required) = map.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| !additional && !nullable.iter().any(|one| *name == one.as_str()));
        if required.is_empty() {
            map.remove("required");
        }
    }
    for name in ["allOf", "oneOf", "anyOf", "not"] {
        map.remove(name);
    }
    let (unknown, nullable) = (map.flag(PRESERVE), map.flag("nullable"));
    map.remove("nullable");
    map.remove("default");
    if unknown || nullable {
        map.remove("items");
        map.remove("properties");
    }
    let array = map.text("type") == "array" && map.some("items").is_none();
    if nullable || array || unknown && map.text("type") == "object" {
        map.remove("type");
    }
}

/// Objects within objects have kinds and metadata.
fn embed(schema: &mut Value, told: &HashMap<&str, Described>, version: Version) {
    each(schema, &mut |schema| {
        if !schema.flag(EMBEDDED) || version == Version::Two && schema.flag(PRESERVE) {
            return;
        }
        type_meta(schema, told);
        let mut required = schema.list("required").to_vec();
        for name in ["kind", "apiVersion"] {
            if !required.iter().any(|one| one == name) {
                required.push(name.into());
            }
        }
        schema["required"] = required.into();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_2_says_what_its_readers_understand() {
        let cases = [
            (
                json!({"type": "object", "nullable": true, "properties": {"a": {}}}),
                json!({}),
            ),
            (
                json!({"type": "object", PRESERVE: true, "properties": {"a": {}}}),
                json!({PRESERVE: true}),
            ),
            (
                json!({"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "string", "nullable": true}, "b": {"type": "string"}}}),
                json!({"type": "object", "required": ["b"], "properties": {"a": {}, "b": {"type": "string"}}}),
            ),
            (
                json!({"type": "array", "items": {"type": "integer"}, "anyOf": [{}]}),
                json!({"type": "array", "items": {"type": "integer"}}),
            ),
            (json!({"type": "array"}), json!({})),
        ];
        for (mut given, wanted) in cases {
            shape(&mut given, Version::Two);
            assert_eq!(given, wanted);
        }
    }

    #[test]
    fn numbers_or_texts_are_either_in_version_3() {
        let mut schema = json!({"properties": {"port": {INT_OR_STRING: true}}});
        shape(&mut schema, Version::Three);
        assert_eq!(
            schema["properties"]["port"]["anyOf"],
            json!([{"type": "integer"}, {"type": "string"}])
        );
    }
}
