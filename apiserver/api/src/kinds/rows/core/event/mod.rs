//! Event: its row.

pub mod columns;

use crate::kinds::{
    Row, Strategy, Verbs,
    rows::events::event::validation,
    strategy::{path_segment, unsupported_field},
};

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
    strategy: Strategy {
        validate_name: path_segment,
        validate: validation::core,
        validate_update: |new, _| validation::core(new),
        allow_create_on_update: true,
        unknown_field: unsupported_field,
        has_no_cache: true,
        ..Strategy::DEFAULT
    },
    stored_as: Some(&crate::kinds::rows::events::event::CORE),
    storage_version: Some("/v1/Event"),
};
