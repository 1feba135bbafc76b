//! What a converted object may say of itself: it stays the same object, and of its metadata labels and annotations alone are the webhook's to change.
//!
//! Follows `validateConvertedObject` and `restoreObjectMeta` of
//! `staging/src/k8s.io/apiextensions-apiserver/pkg/apiserver/conversion/webhook_converter.go`.

use serde_json::{Map, Value};
use skiff_api::machinery::{
    field::{Errors, Path},
    meta::Meta,
    object_meta,
    patch::go::go_type,
};

/// It is another object.
#[derive(thiserror::Error, Debug, PartialEq)]
#[error("must have the same {what}: {before} != {after}")]
pub struct Unlike {
    what: &'static str,
    before: String,
    after: String,
}

/// Metadata that cannot be.
#[derive(thiserror::Error, Debug, PartialEq)]
pub enum MetadataError {
    #[error("missing metadata in converted object")]
    Missing,
    #[error("invalid metadata of type {0} in converted object")]
    NoMap(&'static str),
    #[error("invalid metadata.{field} of type {found} in converted object")]
    NoStrings {
        field: &'static str,
        found: &'static str,
    },
    #[error("metadata.{field}[{key}] must be a string, but is {found} in converted object")]
    NoString {
        field: &'static str,
        key: String,
        found: &'static str,
    },
    #[error("{}", .0.message())]
    Invalid(Errors),
}

/// It is the object that it was.
pub fn same(before: &Value, after: &Value) -> Result<(), Unlike> {
    for (what, before, after) in [
        ("name", before.name(), after.name()),
        ("namespace", before.namespace(), after.namespace()),
        ("UID", before.uid(), after.uid()),
    ] {
        if before != after {
            return Err(Unlike {
                what,
                before: before.into(),
                after: after.into(),
            });
        }
    }
    Ok(())
}

/// Gives a converted object the metadata that it had, with its own labels and annotations.
pub fn restore(before: &Value, after: &mut Value) -> Result<(), MetadataError> {
    let own = match after.get("metadata") {
        None => return Err(MetadataError::Missing),
        Some(Value::Object(own)) => own,
        Some(other) => return Err(MetadataError::NoMap(type_of(other))),
    };
    let mut restored = before.meta().cloned().unwrap_or_default();
    for field in ["labels", "annotations"] {
        match strings(field, own, restored.get(field))? {
            Some(strings) => restored.insert(field.into(), strings.clone()),
            None => restored.remove(field),
        };
    }
    after["metadata"] = Value::Object(restored);
    Ok(())
}

/// The labels or annotations of a converted object, which are judged where they are others than before.
fn strings<'o>(
    field: &'static str,
    own: &'o Map<String, Value>,
    before: Option<&Value>,
) -> Result<Option<&'o Value>, MetadataError> {
    let given = match own.get(field) {
        None | Some(Value::Null) => return Ok(None),
        Some(given) => given,
    };
    let Value::Object(map) = given else {
        return Err(MetadataError::NoStrings {
            field,
            found: type_of(given),
        });
    };
    if let Some((key, other)) = map.iter().find(|(_, value)| !value.is_string()) {
        return Err(MetadataError::NoString {
            field,
            key: key.clone(),
            found: type_of(other),
        });
    }
    if before == Some(given) {
        return Ok(Some(given));
    }
    let metadata = Path::new("metadata");
    let errors = Errors::of(|errors| match field {
        "labels" => object_meta::labels(Some(given), &metadata.child("labels"), errors),
        // upstream's word
        _ => object_meta::annotations(Some(given), &metadata.child("annotation"), errors),
    });
    match errors.is_empty() {
        true => Ok(Some(given)),
        false => Err(MetadataError::Invalid(errors)),
    }
}

/// What `%T` makes of a value.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        value => go_type(value),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn metadata_but_labels_and_annotations_is_as_it_was() {
        let before = json!({"metadata": {"name": "a", "uid": "u", "generation": 2, "labels": {"a": "1"}, "annotations": {"b": "2"}}});
        let mut after = json!({"metadata": {"name": "a", "generation": 42, "finalizers": ["foo"], "labels": {"c": "3"}, "garbage": 1}});
        restore(&before, &mut after).unwrap();
        assert_eq!(
            after,
            json!({"metadata": {"name": "a", "uid": "u", "generation": 2, "labels": {"c": "3"}}})
        );
    }

    #[test]
    fn metadata_that_cannot_be() {
        let before = json!({"metadata": {"name": "a", "labels": {"old": "not valid!"}}});
        for (after, said) in [
            (json!({}), Some("missing metadata in converted object")),
            (
                json!({"metadata": null}),
                Some("invalid metadata of type <nil> in converted object"),
            ),
            (
                json!({"metadata": []}),
                Some("invalid metadata of type []interface {} in converted object"),
            ),
            (
                json!({"metadata": {"labels": "a"}}),
                Some("invalid metadata.labels of type string in converted object"),
            ),
            (
                json!({"metadata": {"annotations": {"a": 1}}}),
                Some("metadata.annotations[a] must be a string, but is int64 in converted object"),
            ),
            (
                json!({"metadata": {"labels": {"a/b/c": ""}}}),
                Some(
                    "metadata.labels: Invalid value: \"a/b/c\": a valid label key must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]') with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')",
                ),
            ),
            // what was there before may stay
            (json!({"metadata": {"labels": {"old": "not valid!"}}}), None),
            (json!({"metadata": {"labels": null}}), None),
        ] {
            let told = restore(&before, &mut after.clone()).map_err(|why| why.to_string());
            assert_eq!(told.err().as_deref(), said, "{after}");
        }
    }
}
