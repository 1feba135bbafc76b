//! DaemonSet: its row.

pub mod strategy;

mod columns;

use crate::kinds::{Row, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "apps",
    version: "v1",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "apps.v1.DaemonSet",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
