//! PodTemplate: its row.

mod strategy;

mod columns;

use crate::kinds::{Row, Verbs};

pub const KIND: Row = Row {
    group: "",
    version: "v1",
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "core.v1.PodTemplate",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
