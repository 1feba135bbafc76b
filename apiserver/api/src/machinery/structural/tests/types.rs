//! A structural schema as types of the schema table: how objects are kept, and who owns what of them.

use serde_json::{Value, json};

use super::{of, text};
use crate::machinery::{
    managed_fields::{self, ResetFields, Update},
    schema::{Schema, as_stored, conform, to_draft, to_json},
};

fn widgets() -> (Schema, u32) {
    let schema = of(json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "size": {"type": "integer"}, "port": {"x-kubernetes-int-or-string": true},
            "crew": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"], "items": {"type": "object", "properties": {"id": text(), "role": text()}}},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": text()},
            "plain": {"type": "array", "items": text()},
            "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "properties": {"a": text()}},
            "map": {"type": "object", "additionalProperties": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": text()}},
            "lists": {"type": "object", "additionalProperties": {"type": "array", "x-kubernetes-list-type": "set", "items": text()}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}));
    schema.schema("sea.example.com", "v1", "Widget").unwrap()
}

#[test]
fn objects_are_kept_as_they_came() {
    let (schema, root) = widgets();
    let node = schema.root(root);
    let written = r#"{"apiVersion":"sea.example.com/v1","extra":null,"kind":"Widget","metadata":{"annotations":{"a":"b"},"name":"x"},"spec":{"crew":[],"free":{"b":null,"a":[]},"map":{},"plain":null,"port":"","size":0,"tags":[1.50,9007199254740993]}}"#;
    let mut object: Value = serde_json::from_str(written).unwrap();
    object["metadata"]["labels"] = json!({});
    object["metadata"]["odd"] = json!(1);
    let decoded = conform(&mut object, node).unwrap();
    assert_eq!(decoded.unknown, ["metadata.odd"]);
    as_stored(&mut object, node);
    let sorted = written
        .replace(r#"{"b":null,"a":[]}"#, r#"{"a":[],"b":null}"#)
        .replace("1.50", "1.5");
    assert_eq!(
        String::from_utf8(to_json(&object, Some(node))).unwrap(),
        sorted
    );
    let (draft, at) = to_draft(&object, node);
    let draft = String::from_utf8(draft).unwrap();
    assert_eq!(
        draft,
        sorted.replace(r#""name":"x""#, r#""name":"x","resourceVersion":"""#)
    );
    assert_eq!(&draft[at - 1..=at], "\"\"");

    let mut wrong = json!({"metadata": {"name": 1}});
    assert_eq!(
        conform(&mut wrong, node).unwrap_err().to_string(),
        "json: cannot unmarshal number into Go struct field ObjectMeta.name of type string"
    );
    let mut empty = json!({});
    conform(&mut empty, node).unwrap();
    assert_eq!(empty, json!({}));
}

#[test]
fn who_owns_what() {
    let (schema, root) = widgets();
    let owned = |spec: Value| {
        let mut object = json!({"apiVersion": "sea.example.com/v1", "kind": "Widget", "metadata": {"name": "x"}, "spec": spec});
        let update = Update {
            manager: "m",
            subresource: "",
            api_version: "sea.example.com/v1",
            now: "2026-01-01T00:00:00Z",
            schema: schema.root(root),
            reset: &ResetFields::paths(&[]),
            versions: None,
        };
        managed_fields::track_update(&json!({}), &mut object, &update).unwrap();
        object["metadata"]["managedFields"][0]["fieldsV1"]["f:spec"].clone()
    };
    for (spec, wanted) in [
        (
            json!({"size": 1, "port": "x"}),
            json!({".": {}, "f:size": {}, "f:port": {}}),
        ),
        (
            json!({"crew": [{"id": "a", "role": "b"}]}),
            json!({".": {}, "f:crew": {".": {}, "k:{\"id\":\"a\"}": {".": {}, "f:id": {}, "f:role": {}}}}),
        ),
        (
            json!({"tags": ["b", "a"]}),
            json!({".": {}, "f:tags": {".": {}, "v:\"a\"": {}, "v:\"b\"": {}}}),
        ),
        (
            json!({"plain": ["b"], "whole": {"a": "x"}}),
            json!({".": {}, "f:plain": {}, "f:whole": {}}),
        ),
        (
            json!({"map": {"k": {"a": "b"}}}),
            json!({".": {}, "f:map": {".": {}, "f:k": {}}}),
        ),
        (
            json!({"lists": {"k": ["a"]}}),
            json!({".": {}, "f:lists": {".": {}, "f:k": {".": {}, "v:\"a\"": {}}}}),
        ),
        (
            json!({"free": {"a": {"b": [1]}, "c": {}}}),
            json!({".": {}, "f:free": {".": {}, "f:a": {".": {}, "f:b": {}}, "f:c": {}}}),
        ),
    ] {
        assert_eq!(owned(spec.clone()), wanted, "{spec}");
    }
}
