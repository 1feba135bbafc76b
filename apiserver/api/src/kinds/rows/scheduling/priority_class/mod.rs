//! PriorityClass: its row.

mod columns;
mod strategy;

use crate::kinds::{Row, Verbs};

pub const KIND: Row = Row {
    group: "scheduling.k8s.io",
    version: "v1",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "scheduling.v1.PriorityClass",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
