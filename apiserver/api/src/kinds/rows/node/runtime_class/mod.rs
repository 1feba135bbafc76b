//! RuntimeClass: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { allow_unconditional_update: false, allow_create_on_update: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
