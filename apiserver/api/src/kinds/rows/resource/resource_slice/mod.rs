//! ResourceSlice: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceSlice",
    plural: "resourceslices",
    singular: "resourceslice",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "resource.v1.ResourceSlice",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { returns_deleted: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
