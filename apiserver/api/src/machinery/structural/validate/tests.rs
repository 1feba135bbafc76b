use serde_json::{Value, json};

use crate::machinery::{
    field::Path,
    structural::{Malformed, Structural},
};

fn of(schema: Value) -> Structural {
    Structural::read(&schema).unwrap()
}

/// What is said of a value in the field `a` of such a schema.
fn said(schema: Value, value: Value) -> Vec<String> {
    let object = json!({"a": value});
    let schema = json!({"type": "object", "properties": {"a": schema}});
    of(schema).validate(&object, &Path::WHOLE).texts()
}

#[test]
fn types() {
    for (schema, value, wanted) in [
        (json!({"type": "string"}), json!("x"), None),
        (
            json!({"type": "string"}),
            json!(1),
            Some("must be of type string: \"integer\""),
        ),
        (
            json!({"type": "string"}),
            json!(1.5),
            Some("must be of type string: \"number\""),
        ),
        (
            json!({"type": "string"}),
            json!(null),
            Some("must be of type string: \"null\""),
        ),
        (
            json!({"type": "string", "nullable": true}),
            json!(null),
            None,
        ),
        (json!({"type": "integer"}), json!(4.0), None),
        (
            json!({"type": "integer"}),
            json!(true),
            Some("must be of type integer: \"boolean\""),
        ),
        (json!({"type": "number"}), json!(4), None),
        (json!({"type": "number"}), json!(4.5), None),
        (
            json!({"type": "array", "items": {"type": "string"}}),
            json!({}),
            Some("must be of type array: \"object\""),
        ),
        (
            json!({"type": "object"}),
            json!([]),
            Some("must be of type object: \"array\""),
        ),
        (
            json!({"type": "boolean"}),
            json!("true"),
            Some("must be of type boolean: \"string\""),
        ),
        (json!({"x-kubernetes-int-or-string": true}), json!(1), None),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!("1"),
            None,
        ),
        (
            json!({"x-kubernetes-int-or-string": true}),
            json!(false),
            Some("must be of type integer,string: \"boolean\""),
        ),
        (
            json!({"x-kubernetes-preserve-unknown-fields": true}),
            json!([1, {"b": null}]),
            None,
        ),
        (
            json!({"type": "object", "format": "date"}),
            json!("x"),
            Some("must be of type object: \"string\""),
        ),
        (
            json!({"type": "string", "format": "nosuch"}),
            json!("x"),
            None,
        ),
        (
            json!({"type": "string", "format": "ipv4"}),
            json!("1.2.3.4"),
            None,
        ),
        (
            json!({"type": "string", "format": "date-time"}),
            json!("soon"),
            Some("must be of type date-time: \"soon\""),
        ),
        (
            json!({"format": "date", "x-kubernetes-preserve-unknown-fields": true}),
            json!(5),
            Some("must be of type date: \"int64\""),
        ),
    ] {
        let wanted: Vec<String> = wanted
            .map(|words| {
                let found = words.rsplit_once(": ").map_or("", |(_, found)| found);
                format!("a: Invalid value: {found}: a in body {words}")
            })
            .into_iter()
            .collect();
        assert_eq!(
            said(schema.clone(), value.clone()),
            wanted,
            "{schema} {value}"
        );
    }
}

#[test]
fn bounds() {
    for (schema, value, wanted) in [
        (
            json!({"type": "integer", "maximum": 20}),
            json!(22),
            &["a: Invalid value: 22: a in body should be less than or equal to 20"][..],
        ),
        (
            json!({"type": "integer", "maximum": 20, "exclusiveMaximum": true}),
            json!(20),
            &["a: Invalid value: 20: a in body should be less than 20"],
        ),
        (
            json!({"type": "number", "minimum": 1.5}),
            json!(1.25),
            &["a: Invalid value: 1.25: a in body should be greater than or equal to 1.5"],
        ),
        (
            json!({"type": "number", "minimum": 2000000.5}),
            json!(2000000.0),
            &[
                "a: Invalid value: 2e+06: a in body should be greater than or equal to 2.0000005e+06",
            ],
        ),
        (
            json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
            json!(1),
            &["a: Invalid value: 1: a in body should be greater than 1"],
        ),
        (
            json!({"type": "integer", "multipleOf": 3}),
            json!(7),
            &["a: Invalid value: 7: a in body should be a multiple of 3"],
        ),
        (
            json!({"type": "number", "multipleOf": 0.1}),
            json!(0.3),
            &[],
        ),
        (
            json!({"type": "number", "multipleOf": 0.25}),
            json!(0.3),
            &["a: Invalid value: 0.3: a in body should be a multiple of 0.25"],
        ),
        (
            json!({"type": "integer", "multipleOf": 0.5}),
            json!(7),
            &[
                "<nil>: Invalid value: \"\": MultipleOf value must be of type integer (default format) in a",
            ],
        ),
        (
            json!({"type": "integer", "format": "int32"}),
            json!(3000000000u64),
            &[
                "<nil>: Invalid value: \"\": Checked value must be of type integer with format int32 in a",
            ],
        ),
        (
            json!({"type": "integer"}),
            json!(4.5),
            &[
                "a: Invalid value: \"number\": a in body must be of type integer: \"number\"",
                "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) in a",
            ],
        ),
        (
            json!({"type": "number", "format": "float"}),
            json!(1e300),
            &[
                "<nil>: Invalid value: \"\": Checked value must be of type number with format float in a",
            ],
        ),
        // a number that does not fit 64 bits is a floating one, for which whole ones have another bound
        (
            json!({"type": "integer"}),
            json!(u64::MAX),
            &[
                "a: Invalid value: \"number\": a in body must be of type integer: \"number\"",
                "<nil>: Invalid value: \"\": Checked value must be of type integer (default format) in a",
            ],
        ),
        (
            json!({"type": "string", "maxLength": 2}),
            json!("äöü"),
            &["a: Too long: may not be more than 2 bytes"],
        ),
        (json!({"type": "string", "maxLength": 3}), json!("äöü"), &[]),
        (
            json!({"type": "string", "minLength": 2, "pattern": "^x"}),
            json!("a"),
            &["a: Invalid value: \"a\": a in body should be at least 2 chars long"],
        ),
        (
            json!({"type": "string", "pattern": "^x"}),
            json!("ax"),
            &["a: Invalid value: \"ax\": a in body should match '^x'"],
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}, "minItems": 2}),
            json!([1]),
            &["a: Invalid value: 1: a in body should have at least 2 items"],
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}, "maxItems": 1}),
            json!([1, "x"]),
            &[
                "a[1]: Invalid value: \"string\": a[1] in body must be of type integer: \"string\"",
                "a: Too many: 2: must have at most 1 item",
            ],
        ),
        (
            json!({"type": "array", "items": {"type": "integer"}, "uniqueItems": true}),
            json!([1, 2, 1]),
            &["a: Invalid value: \"\": a in body shouldn't contain duplicates"],
        ),
        (
            json!({"type": "object", "minProperties": 1}),
            json!({}),
            &["a: Invalid value: 0: a in body should have at least 1 properties"],
        ),
        (
            json!({"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string"}}),
            json!({"x": "", "y": 1}),
            &[
                "a: Too many: 2: must have at most 1 item",
                "a.y: Invalid value: \"integer\": a.y in body must be of type string: \"integer\"",
            ],
        ),
        (
            json!({"type": "object", "required": ["z", "y"], "properties": {"y": {"type": "string"}}}),
            json!({}),
            &["a.z: Required value", "a.y: Required value"],
        ),
        (
            json!({"type": "object", "additionalProperties": false}),
            json!({"b": 1}),
            &["a: Invalid value: \"b\": a.b in body is a forbidden property"],
        ),
        (
            json!({"type": "string", "enum": ["b", "a"]}),
            json!("c"),
            &["a: Unsupported value: \"c\": supported values: \"b\", \"a\""],
        ),
        (
            json!({"type": "integer", "enum": [1, 2.5]}),
            json!(3),
            &["a: Unsupported value: 3: supported values: \"1\", \"2.5\""],
        ),
        (json!({"type": "number", "enum": [1]}), json!(1.0), &[]),
        (
            json!({"type": "string", "nullable": true, "enum": ["a"]}),
            json!(null),
            &["a: Unsupported value: null: supported values: \"a\""],
        ),
        (
            json!({"type": "object", "properties": {"b": {"type": "object", "additionalProperties": {"type": "array", "items": {"type": "object", "properties": {"c": {"type": "boolean"}}}}}}}),
            json!({"b": {"k": [{"c": 0}]}}),
            &[
                "a.b.k[0].c: Invalid value: \"integer\": a.b.k[0].c in body must be of type boolean: \"integer\"",
            ],
        ),
    ] {
        assert_eq!(
            said(schema.clone(), value.clone()),
            wanted,
            "{schema} {value}"
        );
    }
}

#[test]
fn alternatives() {
    let any = json!({"type": "object", "properties": {"b": {"type": "string"}, "c": {"type": "integer"}},
        "anyOf": [{"required": ["b"]}, {"required": ["c"], "properties": {"c": {"minimum": 2}}}]});
    let one = json!({"type": "object", "properties": {"b": {"type": "string"}, "c": {"type": "integer"}},
        "oneOf": [{"required": ["b"]}, {"required": ["c"]}]});
    let all = json!({"type": "integer", "allOf": [{"minimum": 2}, {"maximum": 4}]});
    let not = json!({"type": "integer", "not": {"enum": [3]}});
    for (schema, value, wanted) in [
        (&any, json!({"b": ""}), &[][..]),
        (&any, json!({"c": 2}), &[]),
        (
            &any,
            json!({}),
            &[
                "<nil>: Invalid value: \"\": \"a\" must validate at least one schema (anyOf)",
                "a.b: Required value",
            ],
        ),
        (
            &any,
            json!({"c": 1}),
            &[
                "<nil>: Invalid value: \"\": \"a\" must validate at least one schema (anyOf)",
                "a.c: Invalid value: 1: a.c in body should be greater than or equal to 2",
            ],
        ),
        (&one, json!({"c": 1}), &[]),
        (
            &one,
            json!({"b": "", "c": 1}),
            &[
                "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found 2 valid alternatives",
            ],
        ),
        (
            &one,
            json!({}),
            &[
                "<nil>: Invalid value: \"\": \"a\" must validate one and only one schema (oneOf). Found none valid",
                "a.b: Required value",
            ],
        ),
        (&all, json!(3), &[]),
        (
            &all,
            json!(5),
            &[
                "a: Invalid value: 5: a in body should be less than or equal to 4",
                "<nil>: Invalid value: \"\": \"a\" must validate all the schemas (allOf)",
            ],
        ),
        (
            &not,
            json!(3),
            &["<nil>: Invalid value: \"\": \"a\" must not validate the schema (not)"],
        ),
        (&not, json!(4), &[]),
    ] {
        assert_eq!(
            said(schema.clone(), value.clone()),
            wanted,
            "{schema} {value}"
        );
    }
}

#[test]
fn alternatives_within_alternatives_end() {
    let mut schema = json!({"type": "string"});
    for _ in 0..20 {
        schema = json!({"anyOf": [schema.clone(), {"maximum": 1}]});
    }
    assert!(!said(schema, json!(5)).is_empty());
}

#[test]
fn the_whole_and_its_parts() {
    let schema = of(
        json!({"type": "object", "required": ["spec"], "minProperties": 1,
        "properties": {"spec": {"type": "object"}, "status": {"type": "object", "properties": {"replicas": {"type": "integer"}}}}}),
    );
    let texts = |value| schema.validate(&value, &Path::WHOLE).texts();
    assert_eq!(
        texts(json!([])),
        ["<nil>: Invalid value: \"array\":  in body must be of type object: \"array\""]
    );
    assert_eq!(
        texts(json!({})),
        [
            "<nil>: Invalid value: 0:  in body should have at least 1 properties",
            "spec: Required value"
        ]
    );
    let status = schema.part(&["status"]).unwrap();
    assert_eq!(
        status
            .validate(&json!({"replicas": "x"}), &Path::new("status"))
            .texts(),
        [
            "status.replicas: Invalid value: \"string\": replicas in body must be of type integer: \"string\""
        ]
    );
    assert_eq!(
        schema.validate(&json!({"spec": 1}), &Path::WHOLE).0[0]
            .kind
            .reason(),
        "FieldValueTypeInvalid"
    );
}

#[test]
fn what_was_wrong_before_may_stay() {
    let schema = of(json!({"type": "object", "properties": {
        "kind": {"type": "string", "maxLength": 1},
        "a": {"type": "string", "maxLength": 1},
        "list": {"type": "array", "items": {"type": "string", "maxLength": 1}},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
            "items": {"type": "object", "properties": {"id": {"type": "string"}, "v": {"type": "string", "maxLength": 1}}}},
        "o": {"type": "object", "x-kubernetes-preserve-unknown-fields": true, "required": ["x"]},
        "all": {"type": "object", "properties": {"b": {"type": "string"}}, "allOf": [{"properties": {"b": {"maxLength": 1}}}]}}}));
    for (old, new, wanted) in [
        (json!({"a": "xx"}), json!({"a": "xx", "list": []}), &[][..]),
        (json!({"a": "xx"}), json!({"a": "xy"}), &["a"]),
        (json!({"list": ["xx"]}), json!({"list": ["xx"]}), &[]),
        // elements of lists without keys have no past
        (
            json!({"list": ["xx"]}),
            json!({"list": ["xx", "y"]}),
            &["list[0]"],
        ),
        (
            json!({"keyed": [{"id": "1", "v": "xx"}]}),
            json!({"keyed": [{"id": "0"}, {"id": "1", "v": "xx"}]}),
            &[],
        ),
        (
            json!({"keyed": [{"id": "1", "v": "xx"}]}),
            json!({"keyed": [{"id": "2", "v": "xx"}]}),
            &["keyed[0].v"],
        ),
        // another order is no change
        (
            json!({"keyed": [{"id": "1", "v": "xx"}, {"id": "2"}]}),
            json!({"keyed": [{"id": "2"}, {"id": "1", "v": "xx"}]}),
            &[],
        ),
        (
            json!({"kind": "Kind"}),
            json!({"kind": "Kind", "a": "b"}),
            &["kind"],
        ),
        (json!({"kind": "Kind"}), json!({"kind": "Kind"}), &[]),
        (json!({"o": {}}), json!({"o": {}}), &[]),
        // of what the schema does not name nothing is known
        (
            json!({"o": {"y": 1}}),
            json!({"o": {"y": 1}, "a": ""}),
            &["o.x"],
        ),
        (
            json!({"all": {"b": "xx"}}),
            json!({"all": {"b": "xx"}, "a": ""}),
            &[],
        ),
    ] {
        let found = schema.validate_update(&new, &old, &Path::WHOLE);
        let fields: Vec<&str> = found.0.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, wanted, "{old} {new}");
    }
}

/// The schema of the recorded custom resources, in our words.
fn boat() -> Structural {
    of(
        json!({"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "required": ["oars"], "properties": {
            "oars": {"type": "integer", "minimum": 2, "maximum": 20, "default": 4},
            "name": {"type": "string", "maxLength": 20, "pattern": "^[a-z]+$"},
            "port": {"x-kubernetes-int-or-string": true},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "crew": {"type": "array", "maxItems": 30, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "required": ["id"], "properties": {
                    "id": {"type": "string"}, "role": {"type": "string", "default": "rower", "enum": ["cox", "rower"]}}}}}}}}),
    )
}

#[test]
fn all_the_steps_of_a_write() {
    let schema = boat();
    for (spec, unknown, after, wrong) in [
        (json!({}), &[][..], json!({"oars": 4}), &[][..]),
        (
            json!({"oars": null, "name": null, "port": null}),
            &[],
            json!({"oars": 4}),
            &[],
        ),
        (
            json!({"sails": 3, "crew": [{"id": "a", "hat": 1}], "free": {"x": {"y": null}}}),
            &["spec.crew[0].hat", "spec.sails"],
            json!({"oars": 4, "crew": [{"id": "a", "role": "rower"}], "free": {"x": {"y": null}}}),
            &[],
        ),
        (
            json!({"crew": {"id": "a"}}),
            &["spec.crew.id"],
            json!({"oars": 4, "crew": {}}),
            &[
                "spec.crew: Invalid value: \"object\": spec.crew in body must be of type array: \"object\"",
            ],
        ),
        (
            json!({"crew": [{"role": "captain"}]}),
            &[],
            json!({"oars": 4, "crew": [{"role": "captain"}]}),
            &[
                "spec.crew[0].role: Unsupported value: \"captain\": supported values: \"cox\", \"rower\"",
                "spec.crew[0].id: Required value",
            ],
        ),
        (
            json!({"crew": [], "free": {}}),
            &[],
            json!({"oars": 4, "crew": [], "free": {}}),
            &[],
        ),
    ] {
        let mut object =
            json!({"apiVersion": "a/v1", "kind": "Boat", "metadata": {"name": "x"}, "spec": spec});
        let found = schema.coerce(&mut object, Malformed::Refused).unwrap();
        assert_eq!(found, unknown);
        schema.default(&mut object);
        assert_eq!(object["spec"], after);
        assert_eq!(schema.validate(&object, &Path::WHOLE).texts(), wrong);
    }
    let twice = json!({"spec": {"crew": [{"id": "a"}, {"id": "a"}, {"id": "a"}]}});
    assert_eq!(
        schema.validate_list_types(&twice, &Path::WHOLE).texts(),
        ["spec.crew[1]: Duplicate value: {\"id\":\"a\"}"]
    );
}
