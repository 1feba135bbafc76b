//! Whether a schema is structural: it says of every field what it is once, outside of `allOf`, `anyOf`, `oneOf` and `not`, which only say what
//! values may be.
//!
//! Invariant: errors are sorted by their text, as upstream sorts them.
//! Follows `pkg/apiserver/schema/{convert,validation,complete}.go` of apiextensions-apiserver.

use crate::kinds::prelude::*;
use crate::machinery::{cel::regex, problem::Problem, structural::supported};

/// Where a schema stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

/// The junctors with lists of schemas, in the order in which their errors arise.
const JUNCTORS: [&str; 3] = ["anyOf", "allOf", "oneOf"];

/// Whether a schema says only what a structural one can: the first thing that it cannot is the error.
///
/// # Errors
/// In upstream's words.
pub fn readable(schema: &Value) -> Result<(), Problem> {
    schema.as_object().map_or(Ok(()), supported)?;
    let nested = |name: &str| schema.list(name).iter().try_for_each(readable);
    schema.some("not").map_or(Ok(()), readable)?;
    ["allOf", "anyOf", "oneOf"]
        .into_iter()
        .try_for_each(nested)?;
    if schema.flag_ptr("x-kubernetes-preserve-unknown-fields") == Some(false) {
        return Err(
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined"
                .into(),
        );
    }
    if !schema.list("items").is_empty() {
        return Err("OpenAPIV3Schema 'items' must be a schema, but is an array".into());
    }
    items(schema).map_or(Ok(()), readable)?;
    schema
        .entries("properties")
        .try_for_each(|(_, property)| readable(property))?;
    additional(schema).map_or(Ok(()), readable)
}

/// The one schema of all elements.
pub fn items(schema: &Value) -> Option<&Value> {
    schema.some("items").filter(|items| items.is_object())
}

/// The schema of all further properties.
pub fn additional(schema: &Value) -> Option<&Value> {
    schema
        .some("additionalProperties")
        .filter(|additional| additional.is_object())
}

/// What keeps a readable schema from being structural.
pub fn check(schema: &Value, path: &Path) -> Errors {
    let mut errors = Errors::default();
    invariants(schema, Level::Root, path, &mut errors);
    complete(schema, Some(schema), path, path, &mut errors);
    errors.0.sort_by_cached_key(ToString::to_string);
    errors
}

/// Whether a schema can be read and is structural.
pub fn is_structural(schema: &Value) -> bool {
    readable(schema).is_ok() && check(schema, &Path::new("")).is_empty()
}

fn invariants(schema: &Value, level: Level, path: &Path, errors: &mut Errors) {
    let (kind, embedded) = (
        schema.text("type"),
        schema.flag("x-kubernetes-embedded-resource"),
    );
    match items(schema) {
        Some(items) => invariants(items, Level::Item, &path.child("items"), errors),
        None if kind == "array" => errors.required(&path.child("items"), "must be specified"),
        None => {}
    }
    let at = path.child("properties");
    for (name, property) in schema.entries("properties") {
        invariants(property, Level::Field, &at.key(name), errors);
    }
    if schema.some("additionalProperties").is_some() {
        let at = path.child("additionalProperties");
        if level == Level::Root {
            errors.forbidden(&at, "must not be used at the root");
        }
        if embedded {
            errors.forbidden(
                &at,
                "must not be used if x-kubernetes-embedded-resource is set",
            );
        }
        if let Some(additional) = additional(schema) {
            invariants(additional, Level::Field, &at, errors);
        }
    }
    extensions(schema, path, errors);
    let skips = Skips {
        any_of: is_int_or_string(schema),
        first_all_of: schema.list("allOf").first().is_some_and(is_int_or_string),
    };
    values(schema, skips, path, errors);
    types(schema, level, path, errors);
    metadata(schema, level, path, errors);
    let empty = schema.map("properties").is_none_or(Map::is_empty);
    if embedded && empty && !schema.flag("x-kubernetes-preserve-unknown-fields") {
        errors.required(
            &at,
            "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields",
        );
    }
}

fn extensions(schema: &Value, path: &Path, errors: &mut Errors) {
    for name in [
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-embedded-resource",
    ] {
        if schema.flag("x-kubernetes-int-or-string") && schema.flag(name) {
            errors.invalid(
                &path.child(name),
                true,
                "must be false if x-kubernetes-int-or-string is true",
            );
        }
    }
}

fn types(schema: &Value, level: Level, path: &Path, errors: &mut Errors) {
    let (kind, at) = (schema.text("type"), path.child("type"));
    if schema.flag("x-kubernetes-embedded-resource") && kind != "object" {
        must_be_object(kind, "x-kubernetes-embedded-resource is true", &at, errors);
    } else if kind.is_empty()
        && !schema.flag("x-kubernetes-int-or-string")
        && !schema.flag("x-kubernetes-preserve-unknown-fields")
    {
        let said = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.required(&at, said);
    }
    if level == Level::Root && !kind.is_empty() && kind != "object" {
        errors.invalid(&at, kind, "must be object at the root");
    }
}

/// A type that has to be `object` because of something else.
fn must_be_object(kind: &str, because: &str, path: &Path, errors: &mut Errors) {
    let said = format!("must be object if {because}");
    if kind.is_empty() {
        errors.required(path, said);
    } else {
        errors.invalid(path, kind, said);
    }
}

/// What is said of an object's own metadata, at the root and in objects that are embedded.
fn metadata(schema: &Value, level: Level, path: &Path, errors: &mut Errors) {
    let is_object = level == Level::Root || schema.flag("x-kubernetes-embedded-resource");
    let Some(properties) = schema.map("properties") else {
        return;
    };
    let at = path.child("properties");
    for name in ["kind", "apiVersion"] {
        if let Some(kind) = properties.some(name).map(|property| property.text("type"))
            && is_object
            && kind != "string"
        {
            errors.invalid(&at.key(name).child("type"), kind, "must be string");
        }
    }
    let Some(given) = properties.some("metadata") else {
        return;
    };
    let at = at.key("metadata");
    if is_object && given.text("type") != "object" {
        errors.invalid(&at.child("type"), given.text("type"), "must be object");
    }
    if level == Level::Root && !is_bare_metadata(given) {
        errors.forbidden(&at, "must not specify anything other than name and generateName, but metadata is implicitly specified");
    }
}

/// Names, and what is checked elsewhere.
fn is_bare_metadata(given: &Value) -> bool {
    let names_only = |properties: &Value| {
        properties.as_object().is_some_and(|map| {
            map.keys()
                .all(|name| name == "name" || name == "generateName")
        })
    };
    given.as_object().is_some_and(|map| {
        map.iter().all(|(name, value)| match name.as_str() {
            "type" | "default" => true,
            "properties" => names_only(value),
            _ => value.is_null() || *value == json!([]) || *value == json!({}),
        })
    })
}

/// `anyOf` an integer or a string, which stands for `x-kubernetes-int-or-string` in schemas that others read.
fn is_int_or_string(schema: &Value) -> bool {
    schema.list("anyOf") == [json!({"type": "integer"}), json!({"type": "string"})]
}

/// What of a schema is not looked at.
#[derive(Clone, Copy, Default)]
struct Skips {
    any_of: bool,
    /// `anyOf` of the first schema of `allOf`.
    first_all_of: bool,
}

fn values(schema: &Value, skips: Skips, path: &Path, errors: &mut Errors) {
    for junctor in JUNCTORS {
        if junctor == "anyOf" && skips.any_of {
            continue;
        }
        for (index, inner) in schema.list(junctor).iter().enumerate() {
            let skips = Skips {
                any_of: junctor == "allOf" && index == 0 && skips.first_all_of,
                first_all_of: false,
            };
            nested(inner, skips, &path.child(junctor).index(index), errors);
        }
    }
    if let Some(not) = schema.some("not") {
        nested(not, Skips::default(), &path.child("not"), errors);
    }
    let pattern = schema.text("pattern");
    if let Err(problem) = regex::check(pattern) {
        errors.invalid(
            &path.child("pattern"),
            pattern,
            format!("must be a valid regular expression, but isn't: {problem}"),
        );
    }
}

/// A schema below a junctor: it may say nothing of what values are.
fn nested(schema: &Value, skips: Skips, path: &Path, errors: &mut Errors) {
    values(schema, skips, path, errors);
    if let Some(items) = items(schema) {
        nested(items, Skips::default(), &path.child("items"), errors);
    }
    let at = path.child("properties");
    for (name, property) in schema.entries("properties") {
        nested(property, Skips::default(), &at.key(name), errors);
    }
    const EMPTY: &str = "must be empty to be structural";
    const UNDEFINED: &str = "must be undefined to be structural";
    const FALSE: &str = "must be false to be structural";
    let text = |name: &str| !schema.text(name).is_empty();
    let list = |name: &str| !schema.list(name).is_empty();
    let there = |name: &str| schema.some(name).is_some();
    let wide = schema
        .some("additionalProperties")
        .is_some_and(|additional| *additional != Value::Bool(false));
    for (name, found, said) in [
        ("type", text("type"), EMPTY),
        ("additionalProperties", wide, UNDEFINED),
        ("default", there("default"), UNDEFINED),
        ("title", text("title"), EMPTY),
        ("description", text("description"), EMPTY),
        ("nullable", schema.flag("nullable"), FALSE),
        (
            "x-kubernetes-preserve-unknown-fields",
            schema.flag("x-kubernetes-preserve-unknown-fields"),
            FALSE,
        ),
        (
            "x-kubernetes-embedded-resource",
            schema.flag("x-kubernetes-embedded-resource"),
            FALSE,
        ),
        (
            "x-kubernetes-int-or-string",
            schema.flag("x-kubernetes-int-or-string"),
            FALSE,
        ),
        (
            "x-kubernetes-list-map-keys",
            list("x-kubernetes-list-map-keys"),
            EMPTY,
        ),
        (
            "x-kubernetes-list-type",
            there("x-kubernetes-list-type"),
            UNDEFINED,
        ),
        (
            "x-kubernetes-map-type",
            there("x-kubernetes-map-type"),
            UNDEFINED,
        ),
        (
            "x-kubernetes-validations",
            list("x-kubernetes-validations"),
            EMPTY,
        ),
    ] {
        if found {
            errors.forbidden(&path.child(name), said);
        }
    }
    if schema.at("properties").some("metadata").is_some() {
        errors.forbidden(
            &at.key("metadata"),
            "must not be specified in a nested context",
        );
    }
}

/// Whether what junctors of the root speak of is there outside of them (upstream looks at no others): `values` says what values may be, `outside` what they are, at `path`.
fn complete(
    values: &Value,
    outside: Option<&Value>,
    path: &Path,
    inside: &Path,
    errors: &mut Errors,
) {
    if let Some(not) = values.some("not") {
        nested_complete(not, outside, path, &inside.child("not"), errors);
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, inner) in values.list(junctor).iter().enumerate() {
            let inside = inside.child(junctor);
            nested_complete(inner, outside, path, &inside.index(index), errors);
        }
    }
}

fn nested_complete(
    values: &Value,
    outside: Option<&Value>,
    path: &Path,
    inside: &Path,
    errors: &mut Errors,
) {
    let Some(outside) = outside else {
        return errors.required(path, format!("because it is defined in {inside}"));
    };
    complete(values, Some(outside), path, inside, errors);
    if let Some(inner) = items(values) {
        let (path, inside) = (path.child("items"), inside.child("items"));
        nested_complete(inner, items(outside), &path, &inside, errors);
    }
    let (path, inside) = (path.child("properties"), inside.child("properties"));
    for (name, inner) in values.entries("properties") {
        let outside = outside.at("properties").some(name);
        nested_complete(inner, outside, &path.key(name), &inside.key(name), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read() {
        for (schema, said) in [
            (
                json!({"$ref": "a"}),
                "OpenAPIV3Schema '$ref' is not supported",
            ),
            (
                json!({"$schema": "a"}),
                "OpenAPIV3Schema 'schema' is not supported",
            ),
            (
                json!({"properties": {"a": {"id": "x"}}}),
                "OpenAPIV3Schema 'id' is not supported",
            ),
            (
                json!({"not": {"additionalItems": true}}),
                "OpenAPIV3Schema 'additionalItems' is not supported",
            ),
            (
                json!({"items": [{}]}),
                "OpenAPIV3Schema 'items' must be a schema, but is an array",
            ),
            (
                json!({"x-kubernetes-preserve-unknown-fields": false}),
                "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined",
            ),
        ] {
            assert_eq!(readable(&schema).unwrap_err(), said, "{schema}");
        }
        assert!(
            readable(&json!({"type": "object", "additionalProperties": {"type": "string"}}))
                .is_ok()
        );
    }

    #[test]
    fn what_is_not_structural() {
        let root = |property: Value| json!({"type": "object", "properties": {"a": property}});
        for (schema, said) in [
            (root(json!({"type": "string"})), "[]"),
            (
                root(
                    json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]}),
                ),
                "[]",
            ),
            (
                root(
                    json!({"x-kubernetes-int-or-string": true, "allOf": [{"anyOf": [{"type": "integer"}, {"type": "string"}]}, {"pattern": "a"}]}),
                ),
                "[]",
            ),
            (
                json!({}),
                "s.type: Required value: must not be empty at the root",
            ),
            (
                json!({"type": "array", "items": {"type": "string"}}),
                "s.type: Invalid value: \"array\": must be object at the root",
            ),
            (
                root(json!({"type": "array"})),
                "s.properties[a].items: Required value: must be specified",
            ),
            (
                root(json!({})),
                "s.properties[a].type: Required value: must not be empty for specified object fields",
            ),
            (
                root(json!({"type": "array", "items": {}})),
                "s.properties[a].items.type: Required value: must not be empty for specified array items",
            ),
            (
                json!({"type": "object", "additionalProperties": true}),
                "s.additionalProperties: Forbidden: must not be used at the root",
            ),
            (
                root(json!({"x-kubernetes-embedded-resource": true})),
                "[s.properties[a].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields, s.properties[a].type: Required value: must be object if x-kubernetes-embedded-resource is true]",
            ),
            (
                json!({"type": "object", "oneOf": [{"required": ["b"], "properties": {"b": {"type": "string"}}}]}),
                "[s.oneOf[0].properties[b].type: Forbidden: must be empty to be structural, s.properties[b]: Required value: because it is defined in s.oneOf[0].properties[b]]",
            ),
            (
                root(json!({"type": "string", "not": {"items": {"pattern": "["}}})),
                "s.properties[a].not.items.pattern: Invalid value: \"[\": must be a valid regular expression, but isn't: error parsing regexp: missing closing ]: `[`",
            ),
            (
                json!({"type": "object", "properties": {"kind": {"type": "integer"}, "metadata": {"type": "object", "properties": {"name": {"type": "string"}}}}}),
                "s.properties[kind].type: Invalid value: \"integer\": must be string",
            ),
            (
                json!({"type": "object", "properties": {"metadata": {"type": "object", "description": "x"}}}),
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ),
        ] {
            assert_eq!(check(&schema, &Path::new("s")).message(), said, "{schema}");
        }
    }
}
