mod types;
mod upstream;

use std::ops::ControlFlow;

use serde_json::{Value, json};

use super::*;

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
