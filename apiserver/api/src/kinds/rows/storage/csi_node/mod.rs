//! CSINode: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSINode",
    plural: "csinodes",
    singular: "csinode",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "storage.v1.CSINode",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { allow_unconditional_update: false, update_checks: crate::kinds::UpdateChecks::New, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
