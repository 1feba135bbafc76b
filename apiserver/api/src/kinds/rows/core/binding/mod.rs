//! Binding: its row.

use crate::kinds::{Columns, Review, Row, Strategy, Verbs};

pub const KIND: Row = Row {
    group: "",
    version: "v1",
    kind: "Binding",
    plural: "bindings",
    singular: "binding",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::CreateOnly,
    subresources: &[],
    schema: "core.v1.Binding",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy::answered(Review::Binding),
    stored_as: None,
    storage_version: None,
};
