//! Namespace: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::NoDeleteCollection,
    subresources: &[Subresource::Finalize, Subresource::Status],
    schema: "core.v1.Namespace",
    selectable: &[crate::kinds::Selectable { path: "status.phase", value: |n| n["status"]["phase"].as_str().unwrap_or("").into() }],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy {
        validate_name: crate::kinds::strategy::label,
        defaults: |object| {
            let name = object["metadata"]["name"].as_str().unwrap_or("").to_string();
            if !name.is_empty() {
                object["metadata"]["labels"]["kubernetes.io/metadata.name"] = name.into();
            }
            if object["status"]["phase"].is_null() {
                object["status"]["phase"] = "Active".into();
            }
        },
        prepare_for_create: |object| {
            object["spec"]["finalizers"] = serde_json::json!(["kubernetes"]);
            object["status"] = serde_json::json!({"phase": "Active"});
        },
        prepare_for_update: |new, old| {
            new["spec"]["finalizers"] = old["spec"]["finalizers"].clone();
            new["status"] = old["status"].clone();
        },
        keeps_status_on_create: true,
        has_status: true,
        returns_deleted: true,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
