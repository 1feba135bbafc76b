//! Namespace: its row.

mod columns;
mod strategy;

use crate::kinds::{Row, Subresource, Verbs};

pub const KIND: Row = Row {
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
    selectable: &[crate::kinds::Selectable {
        path: "status.phase",
        value: |n| n["status"]["phase"].as_str().unwrap_or("").into(),
    }],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
