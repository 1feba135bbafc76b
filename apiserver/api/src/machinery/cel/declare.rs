//! Declared types from the schemas of definitions.
//!
//! Invariant: what an expression can see, how large it may become, and how it is read follow from the schema alone. Follows upstream's
//! `staging/src/k8s.io/apiserver/pkg/cel/common/schemas.go` and `pkg/cel/common/valuesunstructured.go`.

use crate::machinery::read::Read;
use serde_json::Value as Json;
use skiff_cel::declared::{Declared, ListKind, MAX_REQUEST_BYTES, Property};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What is left of a request for a text: quotes take the rest.
const MAX_TEXT: u64 = MAX_REQUEST_BYTES - 2;

/// The declared type of a JSONSchemaProps, named `name` where it is an object. A part whose schema says it is an embedded resource is one.
pub fn declare(schema: &Json, name: &str) -> Arc<Declared> {
    let embedded = schema.flag("x-kubernetes-embedded-resource");
    Arc::new(declared(schema, name, embedded))
}

/// The same of the schema of a whole resource: its name and type can be asked for, whether the schema names them or not.
pub fn declare_root(schema: &Json, name: &str) -> Arc<Declared> {
    Arc::new(declared(schema, name, true))
}

/// How often data of a declared type can stand in a request at most.
pub fn max_cardinality(declared: &Declared) -> u64 {
    MAX_REQUEST_BYTES / (declared.min_size + 1)
}

fn declared(schema: &Json, name: &str, resource: bool) -> Declared {
    let found = if schema.flag("x-kubernetes-int-or-string") {
        let most = schema
            .int_ptr("maxLength")
            .map_or(MAX_TEXT, |most| bound(most) * 4);
        Declared::int_or_string(most)
    } else {
        match schema.text("type") {
            "array" => array(schema, name),
            "object" => object(schema, name, resource),
            "string" => text(schema),
            "boolean" => Declared::bool(),
            "number" => Declared::double(),
            "integer" => Declared::int(),
            _ => Declared::preserved(),
        }
    };
    found.nullable(schema.flag("nullable"))
}

/// A limit; what is below nought is nought.
fn bound(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or(0)
}

fn array(schema: &Json, name: &str) -> Declared {
    let items = match schema.some("items") {
        Some(items) => declare(items, &format!("{name}.@idx")),
        None => Arc::new(Declared::preserved()),
    };
    let kind = match schema.text("x-kubernetes-list-type") {
        "set" => ListKind::Set,
        "map" => {
            let keys = schema.texts("x-kubernetes-list-map-keys");
            ListKind::Map(keys.map(str::to_owned).collect())
        }
        _ => ListKind::Atomic,
    };
    Declared::list(items, kind, schema.int_ptr("maxItems").map(bound))
}

fn object(schema: &Json, name: &str, resource: bool) -> Declared {
    let values = schema
        .some("additionalProperties")
        .filter(|values| values.is_object());
    if let Some(values) = values {
        let values = declare(values, &format!("{name}.@elem"));
        return Declared::map(values, schema.int_ptr("maxProperties").map(bound));
    }
    if schema.map("properties").is_none() && !resource {
        return Declared::unknown_object(name);
    }
    let required: Vec<&str> = schema.texts("required").collect();
    let mut properties = BTreeMap::new();
    for (property, of) in schema.entries("properties") {
        properties.insert(
            property.to_owned(),
            Property {
                declared: declare(of, &format!("{name}.{property}")),
                required: required.contains(&property),
                defaulted: of.some("default").is_some(),
            },
        );
    }
    if resource && !names_itself(schema) {
        add_names(&mut properties, name, &required);
    }
    Declared::object(name, properties)
}

/// Whether a schema itself says what every resource has.
fn names_itself(schema: &Json) -> bool {
    let properties = schema.at("properties");
    let is = |of: &Json, ty: &str| of.text("type") == ty;
    let metadata = properties.at("metadata");
    let names = metadata.at("properties");
    is(properties.at("kind"), "string")
        && is(properties.at("apiVersion"), "string")
        && is(metadata, "object")
        && is(names.at("name"), "string")
        && is(names.at("generateName"), "string")
}

/// Kind, version and names: of metadata nothing else can be asked for then.
fn add_names(properties: &mut BTreeMap<String, Property>, name: &str, required: &[&str]) {
    let property = |declared: Declared, required: bool| Property {
        declared: Arc::new(declared),
        required,
        defaulted: false,
    };
    let text = || Declared::string(MAX_TEXT);
    let names = BTreeMap::from([
        ("name".to_owned(), property(text(), false)),
        ("generateName".to_owned(), property(text(), false)),
    ]);
    let metadata = Declared::object(&format!("{name}.metadata"), names);
    for (field, declared) in [
        ("kind", text()),
        ("apiVersion", text()),
        ("metadata", metadata),
    ] {
        let property = property(declared, required.contains(&field));
        properties.insert(field.to_owned(), property);
    }
}

fn text(schema: &Json) -> Declared {
    let most = schema.int_ptr("maxLength").map(bound);
    match schema.text("format") {
        "byte" => return Declared::bytes(most.unwrap_or(MAX_TEXT)),
        "duration" => return Declared::duration(),
        "date" => return Declared::date(),
        "date-time" => return Declared::date_time(),
        _ => {}
    }
    let longest = schema.texts("enum").map(str::len).max();
    Declared::string(match (most, longest) {
        // a character may be four bytes
        (Some(most), _) => most.saturating_mul(4),
        (None, Some(longest)) => longest as u64,
        (None, None) => MAX_TEXT,
    })
}
