//! Event: its row.

pub mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "core.v1.Event",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { allow_create_on_update: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
