//! CSIDriver: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSIDriver",
    plural: "csidrivers",
    singular: "csidriver",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "storage.v1.CSIDriver",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_generation: true, allow_unconditional_update: false, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
