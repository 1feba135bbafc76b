//! Event: its row.

mod columns;

use crate::kinds::{Row, Strategy, Verbs, strategy::unsupported_field};

pub mod convert;
pub mod validation;
pub use convert::{CORE, SELECTABLE};

pub const KIND: Row = Row {
    group: "events.k8s.io",
    version: "v1",
    kind: "Event",
    plural: "events",
    singular: "event",
    short_names: &["ev"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "events.v1.Event",
    selectable: SELECTABLE,
    columns: columns::COLUMNS,
    strategy: Strategy {
        validate: validation::create,
        validate_update: validation::update,
        told_of_group: Some(""),
        allow_create_on_update: true,
        unknown_field: unsupported_field,
        field_names: convert::FIELD_NAMES,
        only_mapped_fields: true,
        has_no_cache: true,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: Some("/v1/Event"),
};
