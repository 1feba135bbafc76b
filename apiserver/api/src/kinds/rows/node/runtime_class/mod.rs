//! RuntimeClass: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "node.k8s.io",
    version: "v1",
    kind: "RuntimeClass",
    plural: "runtimeclasses",
    singular: "runtimeclass",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "node.v1.RuntimeClass",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        allow_unconditional_update: false,
        allow_create_on_update: true,
        update_checks: crate::kinds::UpdateChecks::Both,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
