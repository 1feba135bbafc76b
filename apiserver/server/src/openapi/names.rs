//! The names of definitions, and references to them.
//!
//! Follows kube-openapi's naming of Go's types (`pkg/util/util.go`), and `gvkToModelName` of
//! `apiextensions-apiserver/pkg/controller/openapi/builder/builder.go` for kinds that definitions brought.

use serde_json::{Value, json};
use skiff_api::kinds::Kind;

pub const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Upstream's name of a type of the table: `core.v1.Pod` is `io.k8s.api.core.v1.Pod`.
pub fn name_of(name: &str) -> String {
    let (package, rest) = name.split_once('.').unwrap_or(("", name));
    match package {
        "meta" => format!("io.k8s.apimachinery.pkg.apis.meta.{rest}"),
        "apiextensions" => format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{rest}"),
        "apiregistration" => format!("io.k8s.kube-aggregator.pkg.apis.apiregistration.{rest}"),
        "metrics" => format!("io.k8s.metrics.pkg.apis.metrics.{rest}"),
        _ => format!("io.k8s.api.{name}"),
    }
}

/// The name of the definition of a kind: of one that is not built in, its group backwards (`com.example.v1.Widget`).
pub fn definition_of(kind: &Kind) -> String {
    if kind.is_builtin() {
        return name_of(kind.type_name());
    }
    let group: Vec<&str> = kind.group.split('.').rev().collect();
    format!("{}.{}.{}", group.join("."), kind.version, kind.kind)
}

pub fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}
