//! CustomResourceDefinitions, the kinds that they bring, and objects of these.

use std::sync::Arc;

use serde_json::{Value, json};
use skiff_api::kinds::definition::{Written, kinds_of};

use super::{SCHEMAS, object_of, told};
use crate::{Target, parts, seeds};

pub const DEFINITION: Target = Target::new("definition", run, begin)
    .words(SCHEMAS)
    .worth(2048);

fn begin() -> Vec<Vec<u8>> {
    let schema = json!({"type": "object", "required": ["spec"], "properties": {
        "spec": {"type": "object", "required": ["oars"], "x-kubernetes-validations": [{"rule": "self.oars > 1", "messageExpression": "'has ' + string(self.oars)"}], "properties": {
            "oars": {"type": "integer", "minimum": 2, "maximum": 20, "default": 4, "multipleOf": 2},
            "name": {"type": "string", "maxLength": 20, "pattern": "^[a-z]+$"},
            "built": {"type": "string", "format": "date-time"},
            "port": {"x-kubernetes-int-or-string": true},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
            "whole": {"type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true},
            "tags": {"type": "array", "x-kubernetes-list-type": "set", "maxItems": 9, "items": {"type": "string", "maxLength": 5}},
            "other": {"anyOf": [{"required": ["a"]}, {"not": {"required": ["b"]}}], "type": "object", "properties": {"a": {"type": "number"}, "b": {"type": "boolean", "nullable": true}}},
            "crew": {"type": "array", "maxItems": 30, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"],
                "items": {"type": "object", "required": ["id"], "x-kubernetes-validations": [{"rule": "self == oldSelf || self.id.startsWith('m')"}], "properties": {
                    "id": {"type": "string", "maxLength": 9}, "role": {"type": "string", "default": "rower", "enum": ["cox", "rower"]}}}}}},
        "status": {"type": "object", "additionalProperties": {"type": "string"}}}});
    let definition = json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "boats.sea.example.com"}, "spec": {
        "group": "sea.example.com", "scope": "Namespaced", "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "listKind": "BoatList"},
        "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
            "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.oars", "statusReplicasPath": ".status.oars"}},
            "selectableFields": [{"jsonPath": ".spec.name"}],
            "additionalPrinterColumns": [{"name": "Oars", "type": "integer", "jsonPath": ".spec.oars"}]}]}});
    let object = json!({"apiVersion": "sea.example.com/v1", "kind": "Boat", "metadata": {"name": "x"}, "spec": {"oars": 6, "name": "mary", "port": "http", "built": "2026-01-02T03:04:05Z",
        "any": {"x": [1, null]}, "whole": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "y"}}, "tags": ["a", "b"], "other": {"a": 1.5}, "crew": [{"id": "m1"}, {"id": "m2", "role": "cox"}],
        "unknown": 1}, "status": {"a": "b"}});
    let mut all = vec![seeds::joined(&[&definition, &object, &object])];
    let recorded = seeds::objects()
        .iter()
        .filter(|object| object["kind"] == "CustomResourceDefinition");
    all.extend(recorded.map(|definition| seeds::joined(&[definition, &object, &object])));
    all
}

fn run(data: &[u8]) {
    let [definition, object, old] = parts(data);
    let Some((kind, mut definition)) = object_of(definition) else {
        return;
    };
    if kind.kind != "CustomResourceDefinition" {
        return;
    }
    (kind.strategy.defaults)(&mut definition);
    (kind.strategy.prepare_for_create)(&mut definition);
    let errors = kind.validate(&definition);
    told(&errors);
    kind.warnings(&definition, None);
    told(&kind.validate_update(&definition, &definition, &mut |_| {}));
    if !errors.is_empty() {
        return;
    }
    let written: Written = Arc::new(definition.to_string().into_bytes());
    let Ok(brought) = kinds_of(&definition, &written, 1) else {
        return;
    };
    let read = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
    let (Some(object), old) = (read(object), read(old)) else {
        return;
    };
    for kind in brought.served.iter().chain(&brought.unserved) {
        let mut object = object.clone();
        if kind.conform(&mut object).is_err() {
            continue;
        }
        kind.defaults(&mut object);
        (kind.strategy.prepare_for_create)(&mut object);
        told(&kind.validate(&object));
        kind.warnings(&object, None);
        kind.printer.cells(&object, jiff::Timestamp::UNIX_EPOCH);
        kind.selectable
            .iter()
            .for_each(|field| drop(field.value(&object)));
        let Some(mut old) = old.clone() else {
            continue;
        };
        if kind.conform(&mut old).is_err() || kind.show(&mut old).is_err() {
            continue;
        }
        told(&kind.validate_update(&object, &old, &mut |_| {}));
        for part in &kind.subresources {
            told(&kind.validate_part(*part, &object, &old, &mut |_| {}));
        }
    }
}
