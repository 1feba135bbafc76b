//! Values that a schema gives to what is absent: each has to be good by the schema itself, and to hold nothing that it does not name.
//!
//! Follows `pkg/apiserver/schema/defaulting/{validation,prune}.go` of apiextensions-apiserver.

use std::cell::LazyCell;

use super::keywords;
use crate::kinds::{definition::rules::Rules, prelude::*};
use crate::machinery::quote::GoQuoted;
use crate::machinery::{
    cel,
    field::{Error, Kind},
    structural::{Reader, Structural},
};

/// What is wrong with the defaults of a structural schema.
pub fn check(schema: &Value, pruned: bool, path: &Path) -> Errors {
    let mut errors = Errors::default();
    let mut known = schema.clone();
    unknown_types(&mut known, path, &mut errors);
    match Structural::read(&known) {
        Ok(read) => {
            let mut budget = cel::RUNTIME_BUDGET;
            let rules = LazyCell::new(|| Rules::of(&read, &known));
            errors.extend(
                read.check_defaults(path, pruned, &mut |default, path, errors| {
                    rules.check_default(default, path, &mut budget, errors)
                }),
            );
        }
        Err(problem) => errors.invalid(path, "", problem.to_string()),
    }
    errors
}

/// Whether defaults of a structural schema hold what it does not name.
pub fn has_unpruned(schema: &Value) -> bool {
    let mut known = schema.clone();
    unknown_types(&mut known, &Path::new(""), &mut Errors::default());
    let served = Structural::read_served(&mut Reader::default(), &known);
    match (Structural::read(&known), served) {
        (Ok(read), Ok(served)) => read.root() != served.root(),
        // upstream takes what it cannot read for pruned
        _ => false,
    }
}

/// Takes out types that nobody knows, which no value is of: a default that stands beside one is told of.
fn unknown_types(schema: &mut Value, path: &Path, errors: &mut Errors) {
    let Some(map) = schema.as_object_mut() else {
        return;
    };
    let kind = map.text("type").to_string();
    if !kind.is_empty() && !keywords::TYPES.contains(&kind.as_str()) {
        map.remove("type");
        if let Some(default) = map.some("default") {
            let found = type_of(default);
            errors.0.push(Error {
                kind: Kind::TypeInvalid,
                field: path.child("default").to_string(),
                value: Some(found.into()),
                detail: format!(
                    " in body must be of type {kind}: {found}",
                    found = GoQuoted(&found)
                ),
            });
        }
    }
    for (name, known) in [
        ("x-kubernetes-list-type", &["atomic", "set", "map"][..]),
        ("x-kubernetes-map-type", &["atomic", "granular"]),
    ] {
        if !known.contains(&map.text(name)) {
            map.remove(name);
        }
    }
    if let Some(inner) = map.get_mut("items").filter(|inner| inner.is_object()) {
        unknown_types(inner, &path.child("items"), errors);
    }
    if let Some(Value::Object(properties)) = map.get_mut("properties") {
        let path = path.child("properties");
        for (name, property) in properties {
            unknown_types(property, &path.key(name), errors);
        }
    }
    // no defaults are looked at from here on
    let mut unseen = Errors::default();
    for name in ["additionalProperties", "not", "allOf", "anyOf", "oneOf"] {
        match map.get_mut(name) {
            Some(Value::Array(all)) => {
                for inner in all {
                    unknown_types(inner, path, &mut unseen);
                }
            }
            Some(inner) => unknown_types(inner, path, &mut unseen),
            None => {}
        }
    }
}

/// What a schema calls the type of a value.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_defaults_may_be() {
        let root = |property: Value| json!({"type": "object", "properties": {"a": property}});
        for (schema, said) in [
            (root(json!({"type": "integer", "default": 1})), "[]"),
            (
                root(json!({"type": "integer", "default": {}})),
                "s.properties[a].default: Invalid value: \"object\":  in body must be of type integer: \"object\"",
            ),
            (
                root(json!({"type": "integer", "default": 1, "maximum": 0})),
                "s.properties[a].default: Invalid value: 1:  in body should be less than or equal to 0",
            ),
            (
                root(json!({"type": "whole", "default": 1})),
                "s.properties[a].default: Invalid value: \"integer\":  in body must be of type whole: \"integer\"",
            ),
            (
                root(json!({"type": "object", "default": {"b": 1}})),
                "s.properties[a].default: Invalid value: {\"b\":1}: must not have unknown fields",
            ),
            (
                root(
                    json!({"type": "integer", "default": 1, "x-kubernetes-validations": [{"rule": "self > 1", "message": "more"}]}),
                ),
                "s.properties[a].default: Invalid value: 1: more",
            ),
            (
                // what is only wrong where there was nothing before
                root(
                    json!({"type": "integer", "default": 1, "x-kubernetes-validations": [
                    {"rule": "oldSelf.hasValue()", "optionalOldSelf": true, "message": "new"}]}),
                ),
                "s.properties[a].default: Invalid value: 1: new",
            ),
        ] {
            assert_eq!(
                check(&schema, true, &Path::new("s")).message(),
                said,
                "{schema}"
            );
        }
        let unpruned = root(json!({"type": "object", "default": {"b": 1}}));
        assert!(check(&unpruned, false, &Path::new("s")).is_empty());
        assert!(has_unpruned(&unpruned));
        assert!(!has_unpruned(&root(
            json!({"type": "object", "default": {}})
        )));
    }
}
