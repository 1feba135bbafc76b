//! ConfigMap: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy::DEFAULT,
    stored_as: None,
    storage_version: None,
};
