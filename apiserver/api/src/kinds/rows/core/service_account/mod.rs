//! ServiceAccount: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { returns_deleted: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
