//! CSIDriver: its row.

mod columns;
mod strategy;

use crate::kinds::{Row, Verbs};

pub const KIND: Row = Row {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "storage.v1.CSIDriver",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
