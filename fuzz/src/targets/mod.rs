//! The targets, one file each. A new one is a file, a line here, and one in `fuzz_targets/` and Cargo.toml.

mod apply;
mod cel;
mod cron;
mod definition;
mod fields;
mod http;
mod images;
mod json;
mod json_patch;
mod jsonpath;
mod kinds;
mod log;
mod merge_patch;
mod protobuf;
mod quantity;
mod regex;
mod schema;
mod selectors;
mod spdy;
mod strategic;
mod websocket;
mod words;
mod yaml;

use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::{field::Errors, read::Read, status::Status},
};

pub use self::{
    apply::APPLY, cel::CEL, cron::CRON, definition::DEFINITION, fields::FIELDS, http::HTTP,
    images::IMAGES, json::JSON, json_patch::JSON_PATCH, jsonpath::JSONPATH, kinds::KINDS, log::LOG,
    merge_patch::MERGE_PATCH, protobuf::PROTOBUF, quantity::QUANTITY, regex::REGEX, schema::SCHEMA,
    selectors::SELECTORS, spdy::SPDY, strategic::STRATEGIC, websocket::WEBSOCKET, words::WORDS,
    yaml::YAML,
};

/// The built-in kind that an object says it is of.
fn kind_of(object: &Value) -> Option<&'static Kind> {
    let api_version = object.text("apiVersion");
    let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
    let kind = Registry::builtin().find_kind(group, version, object.text("kind"))?;
    Some(kind)
}

/// An object as a request of its kind brings it: in canonical form.
fn object_of(text: &[u8]) -> Option<(&'static Kind, Value)> {
    let mut object: Value = serde_json::from_slice(text).ok()?;
    let kind = kind_of(&object)?;
    kind.conform(&mut object).ok()?;
    Some((kind, object))
}

/// What was found, as it is answered.
fn told(errors: &Errors) {
    drop(Status::invalid("a.b", "C", "d", errors).to_value());
}

/// Words that are names in many kinds.
const NAMES: &[&str] = &[
    "metadata",
    "spec",
    "status",
    "name",
    "namespace",
    "labels",
    "annotations",
    "finalizers",
    "ownerReferences",
    "managedFields",
    "resourceVersion",
    "uid",
    "creationTimestamp",
    "generateName",
    "template",
    "selector",
    "matchLabels",
    "matchExpressions",
    "containers",
    "initContainers",
    "volumes",
    "env",
    "ports",
    "resources",
    "limits",
    "requests",
    "conditions",
    "type",
    "1Gi",
    "100m",
    "-1",
    "25%",
    "IfNotPresent",
    "10.0.0.1",
    "fd00::/64",
    "2026-01-02T03:04:05Z",
    "1h30m",
    "app.example.com/name",
    "default",
    "kubernetes.io/hostname",
    "Always",
];
