//! Namespace: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Namespace",
    plural: "namespaces",
    singular: "namespace",
    short_names: &["ns"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::NoDeleteCollection,
    subresources: &[Subresource::Finalize, Subresource::Status],
    schema: "core.v1.Namespace",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_status: true, returns_deleted: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
