//! Definitions as a whole, through all that is done to a new one and to one that replaces it.

use super::{custom_resource_definition::STRATEGY, spec};
use crate::kinds::prelude::*;
use crate::machinery::{
    schema::{Schema, conform, to_json},
    yaml,
};

/// As it is stored when somebody makes it.
fn created(mut definition: Value) -> Value {
    let node = Schema::builtin()
        .get("apiextensions.v1.CustomResourceDefinition")
        .unwrap();
    conform(&mut definition, node).unwrap();
    (STRATEGY.defaults)(&mut definition);
    (STRATEGY.prepare_for_create)(&mut definition);
    conform(&mut definition, node).unwrap();
    definition
}

/// One of a kind whose spec has a schema.
fn bees(schema: Value) -> Value {
    created(json!({
        "metadata": {"name": "bees.a.io"},
        "spec": {
            "group": "a.io", "scope": "Cluster", "names": {"plural": "bees", "kind": "Bee"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": schema}}}}],
        },
    }))
}

#[test]
fn what_is_empty_is_told_from_what_is_absent() {
    const AT: &str = "spec.validation.openAPIV3Schema.properties[spec]";
    for (schema, said) in [
        (
            json!({"type": "object", "properties": {}, "required": []}),
            "[]".to_string(),
        ),
        (
            json!({"type": "object", "patternProperties": {}, "definitions": {}, "enum": []}),
            "[]".into(),
        ),
        (
            json!({"type": "object", "dependencies": {}}),
            format!("{AT}.dependencies: Forbidden: dependencies is not supported"),
        ),
    ] {
        assert_eq!(
            spec::validate(&bees(schema.clone())).message(),
            said,
            "{schema}"
        );
    }
}

#[test]
fn values_are_kept_as_go_keeps_them() {
    let given = json!({"type": "object", "default": {"a": 12345678901234567890u64, "b": 9007199254740993i64, "c": 1.0, "d": [null]},
        "enum": [null, 1.5], "example": null, "items": {"enum": []}});
    let bee = bees(given);
    let node = Schema::builtin()
        .get("apiextensions.v1.CustomResourceDefinition")
        .unwrap();
    let text = String::from_utf8(to_json(&bee, Some(node))).unwrap();
    let wanted = r#"{"type":"object","default":{"a":12345678901234567000,"b":9007199254740993,"c":1,"d":[null]},"enum":[null,1.5],"items":{}}"#;
    assert!(text.contains(wanted), "{text}");
}

#[test]
fn what_was_wrong_may_stay_and_nothing_else_may_become_so() {
    let set =
        |items: Value| json!({"type": "array", "x-kubernetes-list-type": "set", "items": items});
    let map = |keys: Value| {
        json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
            "items": {"type": "object", "properties": {"a": keys}}})
    };
    for wrong in [
        json!({"type": "whole"}),
        json!({"description": "of no type"}),
        json!({"type": "object", "default": {"a": 1}}),
        set(json!({"type": "object"})),
        set(json!({"type": "string", "nullable": true})),
        map(json!({"type": "string"})),
    ] {
        let (good, wrong) = (bees(json!({"type": "string"})), bees(wrong));
        assert!(!spec::validate(&wrong).is_empty(), "{wrong}");
        assert!(!spec::validate_update(&wrong, &good).is_empty(), "{wrong}");
        assert!(spec::validate_update(&good, &wrong).is_empty(), "{wrong}");
        // what is not structural stays forbidden where fields are pruned
        let said = spec::validate_update(&wrong, &wrong).message();
        let pruned = said.contains("must not be empty for specified object fields");
        assert!(said == "[]" || pruned, "{said}");
    }
}

#[test]
fn definitions_of_real_projects_are_accepted() {
    let Ok(folder) = std::env::var("UPSTREAM_DATA") else {
        skiff_testing::skipped("UPSTREAM_DATA is not set to the folder with definitions");
        return;
    };
    let mut seen = 0;
    for project in ["cert-manager", "prometheus-operator"] {
        for file in std::fs::read_dir(format!("{folder}/crds/{project}")).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|end| end != "yaml") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let (definition, _) = yaml::read_first(&text).unwrap();
            let definition = created(definition);
            assert_eq!(spec::validate(&definition).message(), "[]", "{path:?}");
            assert_eq!(
                spec::validate_update(&definition, &definition).message(),
                "[]",
                "{path:?}"
            );
            seen += 1;
        }
    }
    assert!(seen > 10);
}
