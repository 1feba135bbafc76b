//! ServiceAccount: its row.

mod columns;

use crate::kinds::{Row, Strategy, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "",
    version: "v1",
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Token],
    schema: "core.v1.ServiceAccount",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { returns_deleted: true, update_checks: crate::kinds::UpdateChecks::Both, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
