//! ConfigMap: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ConfigMap",
    plural: "configmaps",
    singular: "configmap",
    short_names: &["cm"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "core.v1.ConfigMap",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy::DEFAULT,
    stored_as: None,
    storage_version: None,
};
