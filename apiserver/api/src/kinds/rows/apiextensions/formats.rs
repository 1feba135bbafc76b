//! Formats that nobody knows: they are kept and judge nothing, and whoever writes one is told.
//!
//! Follows `pkg/apiserver/validation/formats.go` and `pkg/registry/customresourcedefinition/strategy.go` of apiextensions-apiserver.

use super::{hub::Spec, options::has};
use crate::kinds::prelude::*;
use crate::machinery::quote::go_quote;
use crate::machinery::structural::{formats::is_recognized, node::Kind};

/// Warnings of the formats that a definition brings, but for those that the one before it had.
pub fn warnings(new: &Value, old: Option<&Value>) -> Warnings {
    let before = old.map_or_else(Vec::new, |old| unknown(&Spec::of(old)));
    let now = unknown(&Spec::of(new)).into_iter();
    now.filter(|format| !before.contains(format))
        .map(|format| format!("unrecognized format {}", go_quote(&format)))
        .collect()
}

fn unknown(spec: &Spec) -> Vec<String> {
    let found = std::cell::RefCell::new(Vec::new());
    for schema in spec.schemas() {
        has(schema, &|schema| {
            let format = schema.text("format");
            if !format.is_empty() && !is_known(format, schema.text("type")) {
                found.borrow_mut().push(format.to_string());
            }
            false
        });
    }
    found.into_inner()
}

/// Of a type that nobody knows there are no formats.
fn is_known(format: &str, kind: &str) -> bool {
    Kind::named(kind).is_some_and(|kind| is_recognized(format, kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_told() {
        let definition = |kind: &str, format: &str| json!({"spec": {"versions": [{"name": "v1", "schema": {"openAPIV3Schema": {"type": kind, "format": format}}}]}});
        for (kind, format, told) in [
            ("string", "date-time", vec![]),
            ("", "k8s-short-name", vec![]),
            ("string", "int32", vec!["unrecognized format \"int32\""]),
            ("integer", "int32", vec![]),
            ("number", "int32", vec!["unrecognized format \"int32\""]),
            ("object", "uri", vec!["unrecognized format \"uri\""]),
        ] {
            let new = definition(kind, format);
            assert_eq!(warnings(&new, None), told, "{new}");
            assert!(warnings(&new, Some(&new)).is_empty());
        }
    }
}
