//! What the keywords of a schema say, place by place: keywords that this API does not know, types, lists and maps, and rules.
//!
//! Invariant: errors about the schema come before those about its rules; properties are looked at by their names in order.
//! Follows `ValidateCustomResourceDefinitionOpenAPISchema` and `specStandardValidatorV3` of
//! `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver.

use super::{
    judge::Judge,
    lists,
    options::Options,
    rules,
    scope::Scope,
    structure::{additional, items},
};
use crate::kinds::prelude::*;

/// Types that OpenAPI has.
pub const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];

/// The keywords of a whole schema; where it is `sound`, its rules are compiled.
pub fn check(schema: &Value, sound: bool, options: &Options, path: &Path, errors: &mut Errors) {
    let mut walk = Walk {
        options,
        errors: Errors::default(),
        rules: Judge::new(options),
    };
    let scope = Scope::root(schema);
    walk.schema(schema, &Place::ROOT, sound.then_some(&scope), path);
    errors.extend(walk.errors);
    walk.rules.finish(path, errors);
}

/// What is known of a place from what is around it.
#[derive(Clone, Copy)]
struct Place<'p> {
    is_root: bool,
    /// Why defaults are not allowed here.
    no_defaults: Option<&'p str>,
    in_metadata: bool,
    /// The first place above from which on nothing can be told to be what something old was.
    uncorrelated: Option<&'p Path<'p>>,
}

impl Place<'_> {
    const ROOT: Place<'static> = Place {
        is_root: true,
        no_defaults: None,
        in_metadata: false,
        uncorrelated: None,
    };

    fn within(self) -> Self {
        Place {
            is_root: false,
            ..self
        }
    }
}

struct Walk<'o> {
    options: &'o Options,
    errors: Errors,
    rules: Judge<'o>,
}

impl Walk<'_> {
    fn schema(&mut self, schema: &Value, place: &Place, scope: Option<&Scope>, path: &Path) {
        let begun = self.errors.len();
        self.keywords(schema, place, path);
        self.further_properties(schema, place, scope, path);
        self.properties(schema, place, scope, path);
        self.junctors(schema, place, path);
        self.items(schema, place, scope, path);
        let at = path.child("dependencies");
        for (name, dependency) in schema.entries("dependencies") {
            if dependency.is_object() {
                self.schema(dependency, &place.within(), None, &at.key(name));
            }
        }
        if schema.flag_ptr("x-kubernetes-preserve-unknown-fields") == Some(false) {
            let at = path.child("x-kubernetes-preserve-unknown-fields");
            self.errors.invalid(&at, false, "must be true or undefined");
        }
        lists::validate(schema, self.options, path, &mut self.errors);
        rules::texts(schema, path, &mut self.errors);
        if let Some(scope) = scope
            && self.errors.len() == begun
        {
            self.rules.rules(schema, scope, place.uncorrelated, path);
        }
    }

    fn keywords(&mut self, schema: &Value, place: &Place, path: &Path) {
        let (kind, errors) = (schema.text("type"), &mut self.errors);
        if self.options.known_types && !kind.is_empty() && !TYPES.contains(&kind) {
            errors.not_supported_in_order(&path.child("type"), kind, &TYPES);
        }
        if let Some(reason) = place.no_defaults
            && schema.some("default").is_some()
        {
            errors.forbidden(&path.child("default"), format!("must not be set {reason}"));
        }
        let there = |name: &str| schema.some(name).is_some();
        let filled = |name: &str| schema.map(name).is_some_and(|map| !map.is_empty());
        for (name, found) in [
            ("id", !schema.text("id").is_empty()),
            ("additionalItems", there("additionalItems")),
            ("patternProperties", filled("patternProperties")),
            ("definitions", filled("definitions")),
            ("dependencies", there("dependencies")),
            ("$ref", there("$ref")),
        ] {
            if found {
                errors.forbidden(&path.child(name), format!("{name} is not supported"));
            }
        }
        if kind == "null" {
            errors.forbidden(
                &path.child("type"),
                "type cannot be set to null, use nullable as an alternative",
            );
        }
        if !schema.list("items").is_empty() {
            errors.forbidden(
                &path.child("items"),
                "items must be a schema object and not an array",
            );
        }
        if place.in_metadata && schema.flag("x-kubernetes-embedded-resource") {
            errors.forbidden(
                &path.child("x-kubernetes-embedded-resource"),
                "must not be used inside of resource meta",
            );
        }
        if schema.flag("uniqueItems") {
            errors.forbidden(
                &path.child("uniqueItems"),
                "uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            );
        }
    }

    fn further_properties(
        &mut self,
        schema: &Value,
        place: &Place,
        scope: Option<&Scope>,
        path: &Path,
    ) {
        let Some(given) = schema.some("additionalProperties") else {
            return;
        };
        let at = path.child("additionalProperties");
        let has_properties = schema.map("properties").is_some_and(|map| !map.is_empty());
        if has_properties && *given != Value::Bool(true) {
            self.errors.forbidden(
                &at,
                "additionalProperties and properties are mutual exclusive",
            );
        }
        let mut within = place.within();
        if place.in_metadata {
            within.no_defaults = Some("inside additionalProperties applying to object metadata");
        }
        if let Some(inner) = additional(schema) {
            let scope = scope.map(|scope| scope.further(inner));
            self.schema(inner, &within, scope.as_ref(), &at);
        }
    }

    fn properties(&mut self, schema: &Value, place: &Place, scope: Option<&Scope>, path: &Path) {
        let at = path.child("properties");
        let is_object = place.is_root || schema.flag("x-kubernetes-embedded-resource");
        for (name, property) in schema.entries("properties") {
            let mut within = place.within();
            let known = [None, Some("granular"), Some("atomic")];
            if !known.contains(&schema.text_ptr("x-kubernetes-map-type")) {
                within.uncorrelated = within.uncorrelated.or(Some(path));
            }
            let reason = format!("in top-level {name}");
            if is_object && matches!(name, "metadata" | "kind" | "apiVersion") {
                within.in_metadata = true;
                if place.is_root {
                    within.no_defaults = Some(&reason);
                }
            }
            let scope = scope.map(|scope| scope.property(name, property));
            self.schema(property, &within, scope.as_ref(), &at.key(name));
        }
    }

    fn junctors(&mut self, schema: &Value, place: &Place, path: &Path) {
        if let Some(not) = schema.some("not") {
            self.schema(not, &place.within(), None, &path.child("not"));
        }
        for name in ["allOf", "oneOf", "anyOf"] {
            for (index, inner) in schema.list(name).iter().enumerate() {
                self.schema(inner, &place.within(), None, &path.child(name).index(index));
            }
        }
        let at = path.child("definitions");
        for (name, inner) in schema.entries("definitions") {
            self.schema(inner, &place.within(), None, &at.key(name));
        }
    }

    fn items(&mut self, schema: &Value, place: &Place, scope: Option<&Scope>, path: &Path) {
        let at = path.child("items");
        let mut within = place.within();
        if schema.text("x-kubernetes-list-type") != "map" {
            within.uncorrelated = within.uncorrelated.or(Some(path));
        }
        if let Some(inner) = items(schema) {
            let scope = scope.map(|scope| scope.items(inner));
            self.schema(inner, &within, scope.as_ref(), &at);
        }
        for (index, inner) in schema.list("items").iter().enumerate() {
            let scope = scope.map(|scope| scope.items(inner));
            self.schema(inner, &within, scope.as_ref(), &at.index(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_keywords_may_say() {
        let unsupported = |name: &str| format!("s.{name}: Forbidden: {name} is not supported");
        for (schema, said) in [
            (json!({"type": "object"}), "[]".to_string()),
            (
                json!({"type": "null"}),
                "[s.type: Unsupported value: \"null\": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\", s.type: Forbidden: type cannot be set to null, use nullable as an alternative]".into(),
            ),
            (json!({"id": "x"}), unsupported("id")),
            (json!({"additionalItems": true}), unsupported("additionalItems")),
            (json!({"patternProperties": {"a": {}}}), unsupported("patternProperties")),
            (json!({"definitions": {"a": {}}}), unsupported("definitions")),
            (json!({"dependencies": {"a": ["b"]}}), unsupported("dependencies")),
            (
                json!({"dependencies": {"a": {"uniqueItems": true}}}),
                format!("[{}, s.dependencies[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic]", unsupported("dependencies")),
            ),
            (json!({"items": [{}]}), "s.items: Forbidden: items must be a schema object and not an array".into()),
            (
                json!({"properties": {"metadata": {"default": {}}}}),
                "s.properties[metadata].default: Forbidden: must not be set in top-level metadata".into(),
            ),
            (
                json!({"properties": {"a": {"x-kubernetes-embedded-resource": true, "properties": {"metadata": {"x-kubernetes-embedded-resource": true,
                    "additionalProperties": {"default": 1}}}}}}),
                "[s.properties[a].properties[metadata].x-kubernetes-embedded-resource: Forbidden: must not be used inside of resource meta, s.properties[a].properties[metadata].additionalProperties.default: Forbidden: must not be set inside additionalProperties applying to object metadata]".into(),
            ),
            (
                json!({"properties": {"a": {}}, "additionalProperties": false}),
                "s.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive".into(),
            ),
            (json!({"properties": {"a": {}}, "additionalProperties": true}), "[]".into()),
            (
                json!({"not": {"x-kubernetes-preserve-unknown-fields": false}}),
                "s.not.x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined".into(),
            ),
        ] {
            let errors = Errors::of(|errors| check(&schema, false, &Options::of_new(), &Path::new("s"), errors));
            assert_eq!(errors.message(), said, "{schema}");
        }
    }
}
