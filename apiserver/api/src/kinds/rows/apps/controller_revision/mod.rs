//! ControllerRevision: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
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
    strategy: Strategy::DEFAULT,
    stored_as: None,
    storage_version: None,
};
