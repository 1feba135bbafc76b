//! ComponentStatus: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { deprecation: Some("v1 ComponentStatus is deprecated in v1.19+"), ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
