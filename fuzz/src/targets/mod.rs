//! The targets, one file each. A new one is a file and a line in [`every_target!`].

/// Calls a macro with all targets: their files, and the constants in them.
#[macro_export]
macro_rules! every_target {
    ($then:ident) => {
        $then! {
            apply APPLY;
            cel CEL;
            cron CRON;
            definition DEFINITION;
            fields FIELDS;
            http HTTP;
            images IMAGES;
            json JSON;
            json_patch JSON_PATCH;
            jsonpath JSONPATH;
            kinds KINDS;
            log LOG;
            merge_patch MERGE_PATCH;
            protobuf PROTOBUF;
            quantity QUANTITY;
            regex REGEX;
            schema SCHEMA;
            selectors SELECTORS;
            spdy SPDY;
            strategic STRATEGIC;
            websocket WEBSOCKET;
            words WORDS;
            yaml YAML;
        }
    };
}

macro_rules! these {
    ($($file:ident $target:ident;)*) => {
        $(mod $file;)*
        $(pub use self::$file::$target;)*
        pub const ALL: &[Target] = &[$($target),*];
    };
}

every_target!(these);

use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::{field::Errors, read::Read, status::Status},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::{LONGEST, Target};

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

/// Sends bytes over a connection whose other side `serve` has; what it answers is read, and dropped.
fn over_a_connection<F: Future<Output = ()>>(data: &[u8], serve: impl FnOnce(DuplexStream) -> F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    runtime.block_on(async {
        // all of an input goes into its buffer
        let (near, far) = tokio::io::duplex(2 * LONGEST);
        let (mut read, mut write) = tokio::io::split(near);
        let reading = tokio::spawn(async move {
            let mut answered = Vec::new();
            let _ = read.read_to_end(&mut answered).await;
        });
        let _ = write.write_all(data).await;
        let _ = write.shutdown().await;
        serve(far).await;
        drop(write);
        reading.await.unwrap();
    });
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

/// Words of schemas, and of the definitions around them.
const SCHEMAS: &[&str] = &[
    "type",
    "object",
    "array",
    "string",
    "integer",
    "number",
    "boolean",
    "properties",
    "items",
    "additionalProperties",
    "required",
    "default",
    "enum",
    "pattern",
    "format",
    "minimum",
    "maximum",
    "multipleOf",
    "maxLength",
    "minItems",
    "uniqueItems",
    "allOf",
    "anyOf",
    "oneOf",
    "not",
    "nullable",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-embedded-resource",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-map-type",
    "map",
    "set",
    "atomic",
    "granular",
    "x-kubernetes-validations",
    "rule",
    "message",
    "messageExpression",
    "fieldPath",
    "reason",
    "self",
    "oldSelf",
    "self.size() > 0",
    "date-time",
    "int64",
    "^a*$",
    "spec",
    "status",
    "metadata",
    "name",
    "additionalPrinterColumns",
    "jsonPath",
    "selectableFields",
    "subresources",
    "scale",
    "specReplicasPath",
    "conversion",
    "versions",
    "served",
    "storage",
    "exclusiveMaximum",
    "date",
    "duration",
    "ipv4",
    "ipv6",
    "cidr",
    "mac",
    "uuid",
    "byte",
    "email",
    "hostname",
    "uri",
    "isbn",
    "creditcard",
    "ssn",
    "hexcolor",
    "rgbcolor",
    "bsonobjectid",
    "int32",
    "float",
    "k8s-short-name",
];
