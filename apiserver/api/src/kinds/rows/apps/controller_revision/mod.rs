//! ControllerRevision: its row.

mod strategy;

mod columns;

use crate::kinds::{Row, Verbs};

pub const KIND: Row = Row {
    group: "apps",
    version: "v1",
    kind: "ControllerRevision",
    plural: "controllerrevisions",
    singular: "controllerrevision",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "apps.v1.ControllerRevision",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
