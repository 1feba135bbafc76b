//! Event: its row.

pub mod columns;

use crate::kinds::{Row, Strategy, Verbs, strategy::unsupported_field};

pub const KIND: Row = Row {
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
    selectable: crate::kinds::rows::events::event::SELECTABLE,
    columns: columns::COLUMNS,
    strategy: Strategy { allow_create_on_update: true, unknown_field: unsupported_field, has_no_cache: true, ..Strategy::DEFAULT },
    stored_as: Some(&crate::kinds::rows::events::event::CORE),
    storage_version: Some("/v1/Event"),
};
