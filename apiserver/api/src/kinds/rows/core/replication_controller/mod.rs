//! ReplicationController: its row.

mod strategy;

mod columns;

use crate::kinds::{Row, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "",
    version: "v1",
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Scale, Subresource::Status],
    schema: "core.v1.ReplicationController",
    selectable: strategy::SELECTABLE,
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
