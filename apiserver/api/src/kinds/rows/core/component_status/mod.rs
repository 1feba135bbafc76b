//! ComponentStatus: its row.

mod columns;

use crate::kinds::{Row, Source, Strategy, Verbs};

pub const KIND: Row = Row {
    group: "",
    version: "v1",
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::GetList,
    subresources: &[],
    schema: "core.v1.ComponentStatus",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        deprecation: Some("v1 ComponentStatus is deprecated in v1.19+"),
        source: Source::Components,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
