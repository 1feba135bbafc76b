//! CSIStorageCapacity: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "CSIStorageCapacity",
    plural: "csistoragecapacities",
    singular: "csistoragecapacity",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "storage.v1.CSIStorageCapacity",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { allow_unconditional_update: false, update_checks: crate::kinds::UpdateChecks::Both, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
