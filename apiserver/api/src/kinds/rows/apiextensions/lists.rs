//! What a schema says of lists and maps: whether they are owned as a whole, and by what their elements are told apart.
//!
//! Follows `pkg/apis/apiextensions/validation/validation.go` of apiextensions-apiserver.

use super::{options::Options, structure::items};
use crate::kinds::prelude::*;

const LIST_TYPE: &str = "x-kubernetes-list-type";
const MAP_TYPE: &str = "x-kubernetes-map-type";
const KEYS: &str = "x-kubernetes-list-map-keys";

pub fn validate(schema: &Value, options: &Options, path: &Path, errors: &mut Errors) {
    let (map_type, list_type) = (schema.text_ptr(MAP_TYPE), schema.text_ptr(LIST_TYPE));
    if let Some(given) = map_type {
        fits(schema, "object", MAP_TYPE, path, errors);
        known(
            given,
            &["atomic", "granular"],
            &path.child(MAP_TYPE),
            errors,
        );
    }
    if let Some(given) = list_type {
        if fits(schema, "array", LIST_TYPE, path, errors)
            && options.atomic_sets
            && let Some(wrong) = divided_element(schema)
        {
            wrong.tell(&path.child("items"), errors);
        }
        let all = ["atomic", "set", "map"];
        known(given, &all, &path.child(LIST_TYPE), errors);
    }
    if !schema.list(KEYS).is_empty() && list_type != Some("map") {
        let (at, said) = (
            path.child(LIST_TYPE),
            "must be map if x-kubernetes-list-map-keys is non-empty",
        );
        match list_type {
            None => errors.required(&at, said),
            Some(given) => errors.invalid(&at, given, said),
        }
    }
    if list_type == Some("map") {
        map_list(schema, path, errors);
    }
    if options.sound_keys {
        keys(schema, path, errors);
    }
}

fn known(given: &str, all: &[&str], path: &Path, errors: &mut Errors) {
    if !all.contains(&given) {
        errors.not_supported_in_order(path, given, all);
    }
}

/// Whether the schema is of the type that an extension speaks of.
fn fits(schema: &Value, wanted: &str, because: &str, path: &Path, errors: &mut Errors) -> bool {
    let (kind, at) = (schema.text("type"), path.child("type"));
    let said = || format!("must be {wanted} if {because} is specified");
    match kind {
        "" => errors.required(&at, said()),
        kind if kind == wanted => return true,
        kind => errors.invalid(&at, kind, said()),
    }
    false
}

/// What is wrong with the elements of a set, which are to be owned as a whole.
pub struct Divided<'v> {
    field: &'static str,
    /// Upstream shows the type of the list in either case.
    shown: Option<&'v Value>,
}

impl Divided<'_> {
    fn tell(&self, path: &Path, errors: &mut Errors) {
        checks::invalid_or_null(
            self.shown,
            "must be atomic as item of a list with x-kubernetes-list-type=set",
            &path.child(self.field),
            errors,
        );
    }
}

/// Whether a schema is a set whose elements are owned part by part.
pub fn divided_element(schema: &Value) -> Option<Divided<'_>> {
    let element = items(schema).filter(|_| schema.text(LIST_TYPE) == "set")?;
    let field = match element.text("type") {
        "array" if !matches!(element.text_ptr(LIST_TYPE), None | Some("atomic")) => LIST_TYPE,
        "object" if element.text_ptr(MAP_TYPE) != Some("atomic") => MAP_TYPE,
        _ => return None,
    };
    Some(Divided {
        field,
        shown: element.some(LIST_TYPE),
    })
}

/// A list of the type `map`: its elements are objects with keys.
fn map_list(schema: &Value, path: &Path, errors: &mut Errors) {
    let at = path.child("items");
    if schema.list(KEYS).is_empty() {
        errors.required(
            &path.child(KEYS),
            "must not be empty if x-kubernetes-list-type is map",
        );
    }
    let Some(given) = schema.some("items") else {
        return errors.required(&at, "must have a schema if x-kubernetes-list-type is map");
    };
    if !given.is_object() {
        let each = schema.list("items").iter();
        let each: Vec<String> = each
            .map(|one| internal::json(one, "apiextensions.JSONSchemaProps"))
            .collect();
        return checks::invalid_shown(
            &format!("{{\"Schema\":null,\"JSONSchemas\":[{}]}}", each.join(",")),
            "must only have a single schema if x-kubernetes-list-type is map",
            &at,
            errors,
        );
    }
    let kind = given.text("type");
    if kind != "object" {
        return errors.invalid(
            &at.child("type"),
            kind,
            "must be object if parent array's x-kubernetes-list-type is map",
        );
    }
    map_keys(schema, given, path, errors);
}

fn map_keys(schema: &Value, element: &Value, path: &Path, errors: &mut Errors) {
    let (at, items) = (path.child(KEYS), path.child("items"));
    let properties = items.child("properties");
    let keys: Vec<&str> = schema.texts(KEYS).collect();
    for (index, key) in keys.iter().enumerate() {
        match element.at("properties").some(key).map(|of| of.text("type")) {
            Some("array" | "object") => errors.invalid(
                &properties.key(key).child("type"),
                element.text("type"),
                "must be a scalar type if parent array's x-kubernetes-list-type is map",
            ),
            Some(_) => {}
            None => errors.invalid(
                &at,
                keys.clone(),
                "entries must all be names of item properties",
            ),
        }
        if keys[..index].contains(key) {
            errors.invalid(&at, keys.clone(), "must not contain duplicate entries");
        }
    }
}

/// Whether the elements of sets and maps, and the keys of maps, are always there.
fn keys(schema: &Value, path: &Path, errors: &mut Errors) {
    let list_type = schema.text(LIST_TYPE);
    let Some(element) = items(schema).filter(|_| matches!(list_type, "set" | "map")) else {
        return;
    };
    let at = path.child("items");
    if element.flag("nullable") {
        errors.forbidden(
            &at.child("nullable"),
            format!("cannot be nullable when x-kubernetes-list-type is {list_type}"),
        );
    }
    if list_type == "set" {
        return;
    }
    let at = at.child("properties");
    for key in schema.texts(KEYS) {
        let Some(property) = element.at("properties").some(key) else {
            continue;
        };
        let at = at.key(key);
        if !element.texts("required").any(|name| name == key) && property.some("default").is_none()
        {
            errors.required(&at.child("default"), "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property");
        }
        if property.flag("nullable") {
            errors.forbidden(
                &at.child("nullable"),
                "this property is in x-kubernetes-list-map-keys, so it cannot be nullable",
            );
        }
    }
}

/// Whether something is wrong with what [`keys`] looks at.
pub fn has_unsound_keys(schema: &Value) -> bool {
    !checks::is_good(|errors| keys(schema, &Path::new(""), errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lists_and_maps_may_be() {
        let list = |change: Value| {
            let mut list = json!({"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["a"],
                "items": {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}}});
            for (name, value) in change.as_object().into_iter().flatten() {
                list[name] = value.clone();
            }
            list
        };
        let set = |items: Value| json!({"type": "array", "x-kubernetes-list-type": "set", "items": items});
        let atomic = "must be atomic as item of a list with x-kubernetes-list-type=set";
        for (schema, said) in [
            (list(json!({})), "[]".to_string()),
            (
                json!({"x-kubernetes-map-type": "x"}),
                "[s.type: Required value: must be object if x-kubernetes-map-type is specified, s.x-kubernetes-map-type: Unsupported value: \"x\": supported values: \"atomic\", \"granular\"]".into(),
            ),
            (
                json!({"type": "string", "x-kubernetes-list-type": "set"}),
                "s.type: Invalid value: \"string\": must be array if x-kubernetes-list-type is specified".into(),
            ),
            (
                json!({"type": "array", "x-kubernetes-list-type": "x"}),
                "s.x-kubernetes-list-type: Unsupported value: \"x\": supported values: \"atomic\", \"set\", \"map\"".into(),
            ),
            (set(json!({"type": "object"})), format!("s.items.x-kubernetes-map-type: Invalid value: null: {atomic}")),
            (
                set(json!({"type": "array", "x-kubernetes-list-type": "map"})),
                format!("s.items.x-kubernetes-list-type: Invalid value: \"map\": {atomic}"),
            ),
            (
                set(json!({"type": "string", "nullable": true})),
                "s.items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is set".into(),
            ),
            (
                json!({"x-kubernetes-list-map-keys": ["a"]}),
                "s.x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty".into(),
            ),
            (
                list(json!({"x-kubernetes-list-map-keys": null, "items": null})),
                "[s.x-kubernetes-list-map-keys: Required value: must not be empty if x-kubernetes-list-type is map, s.items: Required value: must have a schema if x-kubernetes-list-type is map]".into(),
            ),
            (
                list(json!({"items": []})),
                "s.items: Invalid value: {\"Schema\":null,\"JSONSchemas\":[]}: must only have a single schema if x-kubernetes-list-type is map".into(),
            ),
            (
                list(json!({"items": {"type": "string"}})),
                "s.items.type: Invalid value: \"string\": must be object if parent array's x-kubernetes-list-type is map".into(),
            ),
            (
                list(json!({"x-kubernetes-list-map-keys": ["a", "b", "a"]})),
                "[s.x-kubernetes-list-map-keys: Invalid value: [\"a\",\"b\",\"a\"]: entries must all be names of item properties, s.x-kubernetes-list-map-keys: Invalid value: [\"a\",\"b\",\"a\"]: must not contain duplicate entries]".into(),
            ),
            (
                list(json!({"items": {"type": "object", "properties": {"a": {"type": "object", "nullable": true}}}})),
                "[s.items.properties[a].type: Invalid value: \"object\": must be a scalar type if parent array's x-kubernetes-list-type is map, s.items.properties[a].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property, s.items.properties[a].nullable: Forbidden: this property is in x-kubernetes-list-map-keys, so it cannot be nullable]".into(),
            ),
        ] {
            let errors = Errors::of(|errors| validate(&schema, &Options::of_new(), &Path::new("s"), errors));
            assert_eq!(errors.message(), said, "{schema}");
        }
    }
}
