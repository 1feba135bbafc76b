//! What is asked of a definition, and what is not because an older one had it: nothing that was stored once may keep a definition from being changed.
//!
//! Follows `validationOptions` of `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver.

use std::collections::HashSet;

use super::{
    conversion, defaults,
    hub::{self, Described, Spec},
    keywords, lists, selectable,
    structure::{self, items},
};
use crate::kinds::prelude::*;

/// Each flag asks for something, but where it says otherwise.
pub struct Options {
    pub known_review: bool,
    pub fixed_names: bool,
    /// A schema in each version.
    pub schemas: bool,
    pub known_types: bool,
    pub structural: bool,
    pub pruned_defaults: bool,
    pub atomic_sets: bool,
    pub sound_keys: bool,
    /// Bundles need not hold certificates.
    pub any_bundle: bool,
    /// Versions that may have more selectable fields than there may be; the empty name stands for what all versions share.
    pub many_selectable: HashSet<String>,
    /// Versions whose schema is as it was: what a rule of theirs costs is not told of.
    pub unchanged: HashSet<String>,
    /// What a rule costs is not told of, in the schema at hand.
    pub any_cost: bool,
}

impl Options {
    pub fn of_new() -> Options {
        Options {
            known_review: true,
            fixed_names: false,
            schemas: true,
            known_types: true,
            structural: true,
            pruned_defaults: true,
            atomic_sets: true,
            sound_keys: true,
            any_bundle: true,
            many_selectable: HashSet::new(),
            unchanged: HashSet::new(),
            any_cost: false,
        }
    }

    pub fn of_update(new: &Spec, old: &Spec, old_definition: &Value) -> Options {
        let none = |wrong: fn(&Value) -> bool| !old.schemas().any(|schema| has(schema, &wrong));
        let established = hub::is_true(old_definition, "Established");
        let conversion = old.value.some("conversion");
        Options {
            known_review: conversion.is_none_or(conversion::has_known_review),
            fixed_names: established,
            schemas: old.shared.open_api().is_some()
                || old
                    .versions
                    .iter()
                    .all(|version| version.own.open_api().is_some()),
            known_types: none(|schema| {
                let kind = schema.text("type");
                !kind.is_empty() && !keywords::TYPES.contains(&kind)
            }),
            structural: old.schemas().all(structure::is_structural),
            pruned_defaults: !old.schemas().any(has_unpruned_defaults),
            atomic_sets: none(|schema| lists::divided_element(schema).is_some()),
            sound_keys: none(lists::has_unsound_keys),
            any_bundle: !established || conversion.is_some_and(conversion::has_bad_bundle),
            many_selectable: many_selectable(new, old),
            unchanged: unchanged(new, old),
            any_cost: false,
        }
    }

    /// Those for the schema of a version.
    pub fn for_version(&self, version: &str) -> Options {
        Options {
            any_cost: self.any_cost || self.unchanged.contains(version),
            many_selectable: self.many_selectable.clone(),
            unchanged: HashSet::new(),
            ..*self
        }
    }
}

fn many_selectable(new: &Spec, old: &Spec) -> HashSet<String> {
    let stays = |new: &Described, old: &Described| {
        old.selectable.len() > selectable::MOST && new.selectable == old.selectable
    };
    let mut names = HashSet::new();
    if stays(&new.shared, &old.shared) {
        names.insert(String::new());
    }
    for version in &new.versions {
        let name = version.value.text("name");
        // of several of one name the last
        let before = old
            .versions
            .iter()
            .rfind(|old| old.value.text("name") == name);
        if before.is_some_and(|old| stays(&version.own, &old.own)) {
            names.insert(name.into());
        }
    }
    names
}

fn unchanged(new: &Spec, old: &Spec) -> HashSet<String> {
    let is_unchanged = |name: &str| match (new.schema_of(name), old.schema_of(name)) {
        (Some(new), Some(old)) => match (new, old) {
            (Some(new), Some(old)) => hub::same(new, old),
            (new, old) => new.is_none() && old.is_none(),
        },
        _ => false,
    };
    let names = new
        .versions
        .iter()
        .map(|version| version.value.text("name"));
    names
        .filter(|name| is_unchanged(name))
        .map(String::from)
        .collect()
}

fn has_unpruned_defaults(schema: &Value) -> bool {
    has_defaults(schema) && structure::is_structural(schema) && defaults::has_unpruned(schema)
}

pub fn has_defaults(schema: &Value) -> bool {
    has(schema, &|schema| schema.some("default").is_some())
}

/// Whether a schema says what only structural ones may say.
pub fn has_extensions(schema: &Value) -> bool {
    has(schema, &|schema| {
        schema.flag("x-kubernetes-embedded-resource")
            || schema.flag("x-kubernetes-int-or-string")
            || schema
                .some("x-kubernetes-preserve-unknown-fields")
                .is_some()
            || schema.some("x-kubernetes-list-type").is_some()
            || !schema.list("x-kubernetes-list-map-keys").is_empty()
            || !schema.list("x-kubernetes-validations").is_empty()
    })
}

/// Whether something is so of a schema or of one within it.
pub fn has(schema: &Value, wanted: &dyn Fn(&Value) -> bool) -> bool {
    let each = |name: &str| schema.list(name).iter().any(|inner| has(inner, wanted));
    let in_map = |name: &str| {
        let mut inner = schema.entries(name).map(|(_, inner)| inner);
        inner.any(|inner| inner.is_object() && has(inner, wanted))
    };
    let one = |name: &str| {
        schema
            .some(name)
            .is_some_and(|inner| inner.is_object() && has(inner, wanted))
    };
    wanted(schema)
        || items(schema).is_some_and(|inner| has(inner, wanted))
        || ["items", "allOf", "anyOf", "oneOf"].into_iter().any(each)
        || ["not", "additionalProperties", "additionalItems"]
            .into_iter()
            .any(one)
        || [
            "properties",
            "patternProperties",
            "definitions",
            "dependencies",
        ]
        .into_iter()
        .any(in_map)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn definition(schema: Value) -> Value {
        json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": schema}}]}})
    }

    #[test]
    fn what_was_there_may_stay() {
        let good = definition(json!({"type": "object"}));
        let flags = |options: &Options| {
            [
                options.known_types,
                options.structural,
                options.atomic_sets,
                options.sound_keys,
            ]
        };
        for (schema, wanted) in [
            (json!({"type": "object"}), [true, true, true, true]),
            (
                json!({"type": "object", "not": {"type": "x"}}),
                [false, false, true, true],
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "object"}}}}),
                [true, true, false, true],
            ),
            (
                json!({"type": "object", "properties": {"a": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "nullable": true}}}}),
                [true, true, true, false],
            ),
        ] {
            let old = definition(schema);
            let options = Options::of_update(&Spec::of(&good), &Spec::of(&old), &old);
            assert_eq!(flags(&options), wanted, "{old}");
        }
    }

    #[test]
    fn versions_that_are_as_they_were() {
        let old = definition(json!({"type": "object", "maximum": 1}));
        let options =
            |new: &Value| Options::of_update(&Spec::of(new), &Spec::of(&old), &old).unchanged;
        assert!(options(&definition(json!({"type": "object", "maximum": 1.0}))).contains("v1"));
        assert!(options(&definition(json!({"type": "object"}))).is_empty());
    }

    #[test]
    fn names_are_fixed_once_they_are_accepted() {
        let mut old = definition(json!({"type": "object"}));
        let fixed = |old: &Value| {
            let options = Options::of_update(&Spec::of(old), &Spec::of(old), old);
            (options.fixed_names, options.any_bundle)
        };
        assert_eq!(fixed(&old), (false, true));
        old["status"] = json!({"conditions": [{"type": "Established", "status": "True"}]});
        assert_eq!(fixed(&old), (true, false));
    }
}
