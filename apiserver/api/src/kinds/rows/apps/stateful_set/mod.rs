//! StatefulSet: its row.

pub mod strategy;

mod columns;

use crate::kinds::{Row, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "apps",
    version: "v1",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Scale, Subresource::Status],
    schema: "apps.v1.StatefulSet",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
