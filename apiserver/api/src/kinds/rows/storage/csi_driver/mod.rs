//! CSIDriver: its row.

mod columns;

use crate::kinds::{Generation, Kind, Strategy, Verbs};

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
    columns: columns::COLUMNS,
    strategy: Strategy { generation: Generation::CountedFromZero, allow_unconditional_update: false, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
