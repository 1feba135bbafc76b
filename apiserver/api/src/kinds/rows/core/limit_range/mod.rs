//! LimitRange: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
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
    strategy: Strategy { allow_create_on_update: true, update_checks: crate::kinds::UpdateChecks::New, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
