//! PersistentVolume: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "core.v1.PersistentVolume",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { has_status: true, returns_deleted: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
