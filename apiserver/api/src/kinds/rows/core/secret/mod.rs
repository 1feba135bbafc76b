//! Secret: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "core.v1.Secret",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy::DEFAULT,
    stored_as: None,
    storage_version: None,
};
