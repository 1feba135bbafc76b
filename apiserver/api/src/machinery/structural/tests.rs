use std::{ops::ControlFlow, path::Path as File};

use serde_json::{Value, json};

use super::*;
use crate::machinery::{
    managed_fields::{self, ResetFields, Update},
    read::Read,
    schema::{Schema, as_stored, conform, to_draft, to_json},
    yaml::read,
};

fn of(schema: Value) -> Structural {
    Structural::read(&schema).unwrap_or_else(|problem| panic!("{problem}: {schema}"))
}

fn text() -> Value {
    json!({"type": "string"})
}

#[test]
fn what_is_no_structural_schema() {
    for (schema, said) in [
        (json!({"id": "x"}), "OpenAPIV3Schema 'id' is not supported"),
        (
            json!({"$schema": "x"}),
            "OpenAPIV3Schema 'schema' is not supported",
        ),
        (
            json!({"properties": {"a": {"$ref": "#/x"}}}),
            "OpenAPIV3Schema '$ref' is not supported",
        ),
        (
            json!({"patternProperties": {"a": {}}}),
            "OpenAPIV3Schema 'patternProperties' is not supported",
        ),
        (
            json!({"anyOf": [{"dependencies": {"a": ["b"]}}]}),
            "OpenAPIV3Schema 'dependencies' is not supported",
        ),
        (
            json!({"additionalItems": false}),
            "OpenAPIV3Schema 'additionalItems' is not supported",
        ),
        (
            json!({"definitions": {"a": {}}}),
            "OpenAPIV3Schema 'definitions' is not supported",
        ),
        (
            json!({"items": [{}]}),
            "OpenAPIV3Schema 'items' must be a schema, but is an array",
        ),
        (
            json!({"x-kubernetes-preserve-unknown-fields": false}),
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined",
        ),
        (
            json!({"maxLength": "x"}),
            "OpenAPIV3Schema 'maxLength' must be an integer",
        ),
        (json!([]), "a schema must be an object"),
    ] {
        assert_eq!(Structural::read(&schema).unwrap_err(), said, "{schema}");
    }
}

#[test]
fn what_is_alike_is_one() {
    let part = json!({"type": "object", "properties": {"name": text()}});
    let read = of(
        json!({"type": "object", "properties": {"a": part, "b": {"type": "array", "items": part}}}),
    );
    let (a, b) = (read.root().property("a"), read.root().property("b"));
    let b = b.and_then(Node::items);
    assert!(std::ptr::eq(a.unwrap(), b.unwrap()));
}

#[test]
fn what_is_not_named_is_taken_out() {
    let kept = json!({"x-kubernetes-preserve-unknown-fields": true});
    let embedded = json!({"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"spec": {"type": "object"}}});
    for (properties, object, left, paths) in [
        (
            json!({"a": text()}),
            json!({"apiVersion": "v", "kind": "k", "metadata": {"x": 1}, "b": {}, "a": 1}),
            json!({"apiVersion": "v", "kind": "k", "metadata": {"x": 1}, "a": 1}),
            &["b"][..],
        ),
        (
            json!({"a": {"type": "array", "items": {"type": "object", "properties": {"b": text()}}}}),
            json!({"a": [{"b": 1}, {"c": 1}, 2]}),
            json!({"a": [{"b": 1}, {}, 2]}),
            &["a[1].c"],
        ),
        (
            json!({"a": {"type": "object"}}),
            json!({"a": {"kind": 1, "b": 2}}),
            json!({"a": {}}),
            &["a.b", "a.kind"],
        ),
        (
            json!({"a": kept}),
            json!({"a": {"b": [{"c": {}}]}}),
            json!({"a": {"b": [{"c": {}}]}}),
            &[],
        ),
        // what is named is looked at where unknown fields are kept, too
        (
            json!({"a": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"b": {"type": "object", "properties": {"c": text()}}}}}),
            json!({"a": {"b": {"c": 1, "d": 2}, "e": {"f": 1}}}),
            json!({"a": {"b": {"c": 1}, "e": {"f": 1}}}),
            &["a.b.d"],
        ),
        (
            json!({"a": {"type": "object", "additionalProperties": {"type": "object", "properties": {"b": text()}}}}),
            json!({"a": {"k": {"b": 1, "c": 2}}}),
            json!({"a": {"k": {"b": 1}}}),
            &["a.k.c"],
        ),
        (
            json!({"a": {"type": "object", "additionalProperties": true}}),
            json!({"a": {"k": {"b": 1}, "l": 1}}),
            json!({"a": {"k": {}, "l": 1}}),
            &["a.k.b"],
        ),
        (
            json!({"a": embedded}),
            json!({"a": {"kind": "k", "metadata": {"x": 1}, "spec": {"y": 1}, "z": 1}}),
            json!({"a": {"kind": "k", "metadata": {"x": 1}, "spec": {}}}),
            &["a.spec.y", "a.z"],
        ),
        (
            json!({"a": {"type": "array", "x-kubernetes-preserve-unknown-fields": true, "items": {"type": "object", "properties": {"b": text()}}}}),
            json!({"a": [{"c": 1}]}),
            json!({"a": [{"c": 1}]}),
            &[],
        ),
    ] {
        let mut found = object.clone();
        let schema = of(json!({"type": "object", "properties": properties}));
        assert_eq!(schema.prune(&mut found), paths, "{object}");
        assert_eq!(found, left);
    }
}

#[test]
fn nulls_and_defaults() {
    let schema = of(json!({"type": "object", "properties": {
        "no": text(),
        "may": {"type": "string", "nullable": true, "default": "x"},
        "has": {"type": "string", "default": "y"},
        "deep": {"type": "object", "default": {}, "properties": {"a": {"type": "integer", "default": 1}}},
        "absent": {"type": "object", "properties": {"a": {"type": "integer", "default": 1}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"a": {"type": "integer", "default": 2}}}},
        "list": {"type": "array", "items": {"type": "object", "default": {"b": 1}, "properties": {"a": {"type": "integer", "default": 3}}}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
    }}));
    for (object, wanted) in [
        (json!({}), json!({"may": "x", "has": "y", "deep": {"a": 1}})),
        (
            json!({"no": null, "may": null, "has": null, "deep": null}),
            json!({"may": null, "has": "y", "deep": {"a": 1}}),
        ),
        (
            json!({"may": "", "has": "", "deep": {"a": 0}}),
            json!({"may": "", "has": "", "deep": {"a": 0}}),
        ),
        (
            json!({"may": "", "has": "", "deep": {"a": 0}, "map": {"k": {}, "n": null}, "list": [{}, null]}),
            json!({"may": "", "has": "", "deep": {"a": 0}, "map": {"k": {"a": 2}}, "list": [{"a": 3}, {"a": 3, "b": 1}]}),
        ),
        (
            json!({"may": "", "has": "", "deep": {"a": 0}, "free": {"x": null}, "absent": {}}),
            json!({"may": "", "has": "", "deep": {"a": 0}, "free": {"x": null}, "absent": {"a": 1}}),
        ),
    ] {
        let mut found = object.clone();
        schema.drop_nulls(&mut found);
        schema.default(&mut found);
        assert_eq!(found, wanted, "{object}");
    }
}

#[test]
fn embedded_objects() {
    let schema = of(
        json!({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}}}),
    );
    let coerced = |malformed, mut object: Value| {
        let found = schema.coerce_metadata(&mut object, malformed);
        (found.map_err(|error| error.to_string()), object)
    };
    for (embedded, wanted, left) in [
        (json!({"metadata": {"name": "x", "creationTimestamp": null, "labels": {}, "odd": 1}}), Ok(vec!["a[0].metadata.odd".into()]), json!({"metadata": {"name": "x"}})),
        (json!({"metadata": null, "x": []}), Ok(vec![]), json!({"metadata": {}, "x": []})),
        (json!({"kind": 1}), Err("a[0].kind: Invalid value: 1: must be a string".to_string()), json!({"kind": 1})),
        (json!({"metadata": {"name": 1}}), Err("a[0].metadata: Invalid value: {\"name\":1}: json: cannot unmarshal number into Go struct field ObjectMeta.name of type string".into()), json!({"metadata": {"name": 1}})),
    ] {
        let found = coerced(Malformed::Refused, json!({"a": [embedded]}));
        assert_eq!(found, (wanted, json!({"a": [left]})));
    }
    let (found, left) = coerced(
        Malformed::Dropped,
        json!({"a": [{"kind": 1, "metadata": {"name": 1, "namespace": "n", "odd": 1}}]}),
    );
    assert_eq!(found, Ok(vec!["a[0].metadata.odd".into()]));
    assert_eq!(left, json!({"a": [{"metadata": {"namespace": "n"}}]}));

    for (embedded, wanted) in [
        (
            json!({"apiVersion": "a/v1", "kind": "Kind", "metadata": {"namespace": "n"}}),
            &[][..],
        ),
        (
            json!({}),
            &[
                "a[0].apiVersion: Required value",
                "a[0].kind: Required value",
            ],
        ),
        (
            json!({"apiVersion": "", "kind": ""}),
            &[
                "a[0].apiVersion: Invalid value: \"\": must not be empty",
                "a[0].kind: Invalid value: \"\": must not be empty",
            ],
        ),
        (
            json!({"apiVersion": "a/b/c", "kind": "a.b"}),
            &[
                "a[0].apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                "a[0].kind: Invalid value: \"a.b\": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')",
            ],
        ),
        (
            json!({"apiVersion": "v1", "kind": "K", "metadata": {"name": "a/b"}}),
            &["a[0].metadata.name: Invalid value: \"a/b\": may not contain '/'"],
        ),
    ] {
        let found = schema.validate_metadata(&json!({"a": [embedded]}), &Path::WHOLE);
        assert_eq!(found.texts(), wanted);
    }
}

#[test]
fn doubles_in_lists() {
    let schema = of(json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"x-kubernetes-preserve-unknown-fields": true}},
        "one": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object", "properties": {"k": text(),
            "in": {"type": "array", "x-kubernetes-list-type": "set", "items": text()}}}},
        "two": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "l"], "items": {"type": "object"}}}}));
    let many: Vec<Value> = (0..40).map(|at| json!(at % 38)).collect();
    for (object, wanted) in [
        (
            json!({"set": [1, 2, 1, 1, 2]}),
            &["set[2]: Duplicate value: 1", "set[4]: Duplicate value: 2"][..],
        ),
        // as values these are two, within others they are written alike
        (json!({"set": [1, 1.0]}), &[]),
        (
            json!({"set": [{"a": 1, "b": [2]}, {"b": [2.0], "a": 1}]}),
            &["set[1]: Duplicate value: {\"a\":1,\"b\":[2]}"],
        ),
        (
            json!({"set": many}),
            &["set[38]: Duplicate value: 0", "set[39]: Duplicate value: 1"],
        ),
        (
            json!({"one": [{"k": "a"}, {"k": "b"}, {"k": "a", "in": ["x", "x"]}]}),
            &[
                "one[2]: Duplicate value: {\"k\":\"a\"}",
                "one[2].in[1]: Duplicate value: \"x\"",
            ],
        ),
        (json!({"one": [{}, null]}), &["one[1]: Duplicate value: {}"]),
        (json!({"one": [{"k": null}, {}]}), &[]),
        (
            json!({"one": [1, {}]}),
            &["one[0]: Invalid value: 1: must be an object for an array of list-type map"],
        ),
        (
            json!({"two": [{"k": 1, "l": 1}, {"k": 1, "l": 2}, {"l": 2, "k": 1, "m": 3}]}),
            &["two[2]: Duplicate value: {\"k\":1,\"l\":2}"],
        ),
        (
            json!({"two": [{"k": 1}, {"l": 1}, {"k": 1}]}),
            &["two[2]: Duplicate value: {\"k\":1}"],
        ),
    ] {
        assert_eq!(
            schema.validate_list_types(&object, &Path::WHOLE).texts(),
            wanted,
            "{object}"
        );
    }
}

#[test]
fn defaults_of_definitions() {
    let embedded = |of: Value| json!({"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true, "properties": {"metadata": of}});
    for (schema, wanted) in [
        (json!({"type": "integer", "default": 1}), &[][..]),
        (
            json!({"type": "integer", "default": "x"}),
            &[
                "s.properties[a].default: Invalid value: \"string\": s.properties[a].default in body must be of type integer: \"string\"",
            ],
        ),
        (
            json!({"type": "object", "properties": {"b": text()}, "default": {"b": "x", "c": 1}}),
            &[
                "s.properties[a].default: Invalid value: {\"b\":\"x\",\"c\":1}: must not have unknown fields",
            ],
        ),
        (
            json!({"type": "object", "required": ["b"], "properties": {"b": text()}, "default": {}}),
            &["s.properties[a].default.b: Required value"],
        ),
        (
            json!({"type": "array", "items": {"type": "object", "properties": {"b": {"type": "string", "enum": ["x"], "default": "y"}}}}),
            &[
                "s.properties[a].items.properties[b].default: Unsupported value: \"y\": supported values: \"x\"",
            ],
        ),
        (
            embedded(
                json!({"type": "object", "properties": {"name": {"type": "string", "default": "x"}}}),
            ),
            &[],
        ),
        (
            embedded(
                json!({"type": "object", "properties": {"name": {"type": "string", "default": "a/b"}}}),
            ),
            &[
                "s.properties[a].properties[metadata].properties[name].default: Invalid value: \"a/b\": must result in valid metadata: metadata.name: Invalid value: \"a/b\": may not contain '/'",
            ],
        ),
        (
            embedded(json!({"type": "object", "default": {"name": 1}})),
            &[
                "s.properties[a].properties[metadata].default: Invalid value: {\"name\":1}: must result in valid metadata: metadata: Invalid value: {\"name\":1}: json: cannot unmarshal number into Go struct field ObjectMeta.name of type string",
            ],
        ),
    ] {
        let schema = of(json!({"type": "object", "properties": {"a": schema}}));
        let mut rules = |_: &Default, _: &Path, _: &mut Errors| ControlFlow::Continue(());
        let found = schema.check_defaults(&Path::new("s"), true, &mut rules);
        // the validator's own words name the place below the default
        let wanted: Vec<String> = wanted
            .iter()
            .map(|text| text.replace(": s.properties[a].default in body", ":  in body"))
            .collect();
        assert_eq!(found.texts(), wanted);
    }
}

#[test]
fn defaults_are_served_without_what_is_not_named() {
    let schema = json!({"type": "object", "properties": {
        "a": {"type": "object", "properties": {"b": text()}, "default": {"b": "x", "c": 1}},
        "e": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"metadata": {"type": "object", "default": {"name": "x", "odd": 1}}}}}});
    let served = Structural::read_served(&mut Reader::default(), &schema).unwrap();
    let mut object = json!({"e": {}});
    served.default(&mut object);
    assert_eq!(
        object,
        json!({"a": {"b": "x"}, "e": {"metadata": {"name": "x"}}})
    );
}

#[test]
fn places_with_rules() {
    let rule = |rule: &str| json!([{"rule": rule}]);
    let schema = of(
        json!({"type": "object", "x-kubernetes-validations": rule("root"), "properties": {
        "none": {"type": "object", "properties": {"x": text()}},
        "all": {"type": "object", "properties": {"x": text()}, "allOf": [{"x-kubernetes-validations": rule("part"), "properties": {"x": {"x-kubernetes-validations": rule("inner")}}}]},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "x-kubernetes-validations": rule("item"), "properties": {"k": text(), "v": text()}}},
        "plain": {"type": "array", "items": {"type": "string", "x-kubernetes-validations": rule("plain")}},
        "map": {"type": "object", "additionalProperties": {"type": "string", "x-kubernetes-validations": rule("value")}}}}),
    );
    let new = json!({"none": {"x": "1"}, "all": {"x": "1"}, "list": [{"k": "a", "v": "1"}, {"k": "b"}], "plain": ["1", null], "map": {"p": "1", "q": "1"}});
    let old = json!({"none": {"x": "1"}, "all": {"x": "1"}, "list": [{"k": "b"}, {"k": "a", "v": "2"}], "plain": ["1", null], "map": {"p": "1", "q": "2"}});
    let told = |old: Option<&Value>| {
        let mut found = Vec::new();
        let flow = schema.walk(&new, old, &Path::WHOLE, &mut |visit, path| {
            let rule = visit.rules_of.rules()[0]["rule"].as_str().unwrap();
            let old = visit.old.map_or("-".to_string(), |old| old.to_string());
            let mark = if visit.ratchets() { " same" } else { "" };
            found.push(format!("{rule} {path} {old}{mark}"));
            ControlFlow::Continue(())
        });
        assert_eq!(flow, ControlFlow::Continue(()));
        found
    };
    assert_eq!(
        told(None),
        [
            "root  -",
            "part all -",
            "inner all.x -",
            "item list[0] -",
            "item list[1] -",
            "value map[p] -",
            "value map[q] -",
            "plain plain[0] -"
        ]
    );
    let of_old = told(Some(&old));
    assert_eq!(of_old[1], "part all {\"x\":\"1\"}");
    assert_eq!(
        of_old[3..],
        [
            "item list[0] {\"k\":\"a\",\"v\":\"2\"}",
            "item list[1] {\"k\":\"b\"} same",
            "value map[p] \"1\" same",
            "value map[q] \"2\"",
            "plain plain[0] - same"
        ]
    );
    let mut visits = 0;
    let flow = schema.walk(&new, None, &Path::WHOLE, &mut |_, _| {
        visits += 1;
        ControlFlow::Break(())
    });
    assert_eq!((flow, visits), (ControlFlow::Break(()), 1));
}

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

/// The definitions of real projects and their example objects, and what was recorded of a custom resource.
fn upstream() -> Option<std::path::PathBuf> {
    let data = std::env::var_os("UPSTREAM_DATA");
    if data.is_none() {
        skiff_testing::skipped("UPSTREAM_DATA does not name upstream's data");
    }
    data.map(Into::into)
}

fn documents(folder: &File) -> Vec<Value> {
    let files = std::fs::read_dir(folder).unwrap();
    let mut documents = Vec::new();
    for file in files {
        let path = file.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let text = std::fs::read_to_string(path).unwrap();
            documents.extend(
                read(&text)
                    .unwrap()
                    .into_iter()
                    .map(|document| document.value),
            );
        }
    }
    documents
}

#[test]
fn definitions_of_real_projects() {
    let Some(data) = upstream() else { return };
    let mut kinds = std::collections::BTreeMap::new();
    let (mut nodes, mut types) = (0, 0);
    for project in ["cert-manager", "prometheus-operator"] {
        for definition in documents(&data.join("crds").join(project)) {
            let spec = &definition["spec"];
            let group = spec["group"].as_str().unwrap();
            let kind = spec["names"]["kind"].as_str().unwrap();
            for version in spec["versions"].as_array().unwrap() {
                let name = version["name"].as_str().unwrap();
                let mut reader = Reader::default();
                let schema =
                    Structural::read_served(&mut reader, &version["schema"]["openAPIV3Schema"])
                        .unwrap();
                let mut rules = |_: &Default, _: &Path, _: &mut Errors| ControlFlow::Continue(());
                let wrong = schema.check_defaults(&Path::new("schema"), true, &mut rules);
                assert!(wrong.is_empty(), "{kind}: {}", wrong.message());
                let (of_kind, root) = schema.schema(group, name, kind).unwrap();
                nodes += reader.len();
                types += of_kind.types.len();
                kinds.insert(format!("{group}/{name} {kind}"), (schema, of_kind, root));
            }
        }
    }
    println!("{} kinds: {nodes} nodes, {types} types", kinds.len());
    let mut accepted = 0;
    for mut object in documents(&data.join("crds/prometheus-operator/examples")) {
        let text = |name: &str| object[name].as_str().unwrap_or_default().to_string();
        let Some((schema, of_kind, root)) =
            kinds.get(&format!("{} {}", text("apiVersion"), text("kind")))
        else {
            continue;
        };
        conform(&mut object, of_kind.root(*root)).unwrap();
        let before = object.clone();
        assert_eq!(schema.coerce(&mut object, Malformed::Refused), Ok(vec![]));
        assert_eq!(object, before);
        schema.default(&mut object);
        let mut wrong = schema.validate(&object, &Path::WHOLE);
        wrong.extend(schema.validate_update(&object, &before, &Path::WHOLE));
        wrong.extend(schema.validate_list_types(&object, &Path::WHOLE));
        wrong.extend(schema.validate_metadata(&object, &Path::WHOLE));
        let partial = |text: &String| text == "spec.selector: Required value";
        if object.at("spec").some("scrapeClass").is_some() && wrong.texts().iter().all(partial) {
            // two show a part of an object alone
            continue;
        }
        assert!(wrong.is_empty(), "{}: {object}", wrong.message());
        accepted += 1;
    }
    assert!(accepted >= 14, "only {accepted} examples");
}

#[test]
fn recorded_custom_resources() {
    let Some(data) = upstream() else { return };
    let text = std::fs::read_to_string(data.join("recorded/custom.jsonl")).unwrap();
    let steps: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let definition = steps
        .iter()
        .find(|step| step["id"] == "custom/setup-crd")
        .unwrap();
    let schema = of(definition["body"]["spec"]["versions"][0]["schema"]["openAPIV3Schema"].clone());
    let mut compared = 0;
    for step in &steps {
        let id = step["id"].as_str().unwrap();
        if !id.starts_with("custom/create/")
            || ["/wrong-", "/status"].iter().any(|part| id.contains(part))
            || step["body"]["apiVersion"] != "sea.example.com/v1"
        {
            continue;
        }
        let mut object = step["body"].clone();
        let unknown = schema.coerce(&mut object, Malformed::Refused).unwrap();
        let texts: Vec<String> = unknown
            .iter()
            .map(|path| format!("unknown field \"{path}\""))
            .collect();
        if id.ends_with("/Strict") && !unknown.is_empty() {
            let said = step["response"]["message"].as_str().unwrap();
            assert!(
                said.ends_with(&format!("strict decoding error: {}", texts.join(", "))),
                "{id}: {said}"
            );
            continue;
        }
        if id.ends_with("/Warn") {
            assert_eq!(
                step.get("warnings").cloned().unwrap_or(json!([])),
                json!(texts),
                "{id}"
            );
        }
        schema.default(&mut object);
        let mut found = schema.validate(&object, &Path::WHOLE);
        found.extend(schema.validate_list_types(&object, &Path::WHOLE));
        let found: Vec<Value> = found
            .0
            .iter()
            .map(|error| json!({"reason": error.kind.reason(), "message": error.body(), "field": error.field}))
            .collect();
        // what others say: names, paths of scales, rules
        let of_others = |cause: &&Value| {
            let message = cause["message"].as_str().unwrap();
            !["metadata.name"].contains(&cause["field"].as_str().unwrap_or_default())
                && ![
                    "accessor error",
                    "some validation rules",
                    "oars come in pairs",
                ]
                .iter()
                .any(|words| message.contains(words))
        };
        let causes = step["response"].at("details").list("causes").iter();
        let wanted: Vec<Value> = causes.filter(of_others).cloned().collect();
        assert_eq!(found, wanted, "{id}");
        if wanted.is_empty() && step["status"] == 201 {
            assert_eq!(object["spec"], step["response"]["spec"], "{id}");
        }
        compared += 1;
    }
    assert!(compared >= 50, "only {compared} answers");
}
