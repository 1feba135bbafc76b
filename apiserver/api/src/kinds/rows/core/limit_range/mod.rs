//! LimitRange: its row.

mod strategy;

use crate::kinds::{Columns, Row, Verbs};

pub const KIND: Row = Row {
    group: "",
    version: "v1",
    kind: "LimitRange",
    plural: "limitranges",
    singular: "limitrange",
    short_names: &["limits"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "core.v1.LimitRange",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
