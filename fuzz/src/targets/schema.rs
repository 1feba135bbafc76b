//! Structural schemas with arbitrary objects: pruning, defaults, validation. What a definition's validation would refuse is tried as well.

use serde_json::{Value, json};
use skiff_api::machinery::{
    field::Path,
    structural::{Malformed, Structural},
};

use super::{SCHEMAS, told};
use crate::{Target, seeds, texts};

pub const SCHEMA: Target = Target::new("schema", run, begin).words(SCHEMAS).worth(1024);

/// The formats of strings, with a text of each.
pub(super) const FORMATS: &[(&str, &str)] = &[
    ("date-time", "2026-01-02T03:04:05Z"),
    ("date", "2026-01-02"),
    ("duration", "1h3m"),
    ("ipv4", "1.2.3.4"),
    ("ipv6", "fe80::1"),
    ("cidr", "10.0.0.0/8"),
    ("mac", "01:02:03:04:05:06"),
    ("uuid", "a9e3c1b4-0d7b-4e6c-8f1a-2b3c4d5e6f70"),
    ("byte", "aGk="),
    ("email", "a@b.example"),
    ("hostname", "a.example"),
    ("uri", "http://a/b?c#d"),
    ("isbn", "978-3-16-148410-0"),
    ("creditcard", "4111 1111 1111 1111"),
    ("ssn", "123-45-6789"),
    ("hexcolor", "#aabbcc"),
    ("rgbcolor", "rgb(1,2,3)"),
    ("bsonobjectid", "507f1f77bcf86cd799439011"),
    ("password", "x"),
    ("isbn10", "0-306-40615-2"),
    ("isbn13", "978-3-16-148410-0"),
    ("k8s-short-name", "a-name"),
    ("k8s-long-name", "a.name"),
];

fn begin() -> Vec<Vec<u8>> {
    let properties: serde_json::Map<String, Value> = FORMATS
        .iter()
        .map(|(format, _)| {
            (
                format.to_string(),
                json!({"type": "string", "format": format}),
            )
        })
        .collect();
    let object: serde_json::Map<String, Value> = FORMATS
        .iter()
        .map(|(format, text)| (format.to_string(), json!(text)))
        .collect();
    let lists = json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "number"}},
        "map": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a", "b"], "items": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer", "default": 3}}}},
        "free": {"type": "object", "additionalProperties": {"type": "array", "uniqueItems": true, "items": {"x-kubernetes-int-or-string": true}}},
        "one": {"oneOf": [{"minimum": 3, "exclusiveMinimum": true}, {"multipleOf": 0.1}], "type": "number", "enum": [1, 2.5, 7]},
        "whole": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true, "properties": {"metadata": {"type": "object"}}}}});
    let of_lists = json!({"set": [1, 2.0, 1], "map": [{"a": "x"}, {"a": "x", "b": 4}], "free": {"q": [1, "1", 1]}, "one": 2.5, "whole": {"apiVersion": "v1", "kind": "X", "metadata": {"labels": {"a": null}, "bad": 1}}});
    vec![
        seeds::joined(&[
            &json!({"type": "object", "properties": properties}),
            &Value::Object(object.clone()),
            &Value::Object(object),
        ]),
        seeds::joined(&[&lists, &of_lists, &of_lists]),
    ]
}

fn run(data: &[u8]) {
    let Some(all) = texts::<3>(data) else {
        return;
    };
    let [Ok(schema), Ok(mut object), Ok(mut old)] = all.map(serde_json::from_str::<Value>) else {
        return;
    };
    let Ok(structural) = Structural::read(&schema) else {
        return;
    };
    structural.prune(&mut object.clone());
    structural.drop_nulls(&mut object.clone());
    let _ = structural
        .coerce(&mut object.clone(), Malformed::Refused)
        .map_err(|error| error.to_string());
    if structural.coerce(&mut object, Malformed::Dropped).is_err()
        || structural.coerce(&mut old, Malformed::Dropped).is_err()
    {
        return;
    }
    structural.default(&mut object);
    structural.default(&mut old);
    let path = Path::WHOLE;
    for errors in [
        structural.validate(&object, &path),
        structural.validate_metadata(&object, &path),
        structural.validate_list_types(&object, &path),
        structural.validate_update(&object, &old, &path),
    ] {
        told(&errors);
    }
}
