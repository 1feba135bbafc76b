//! CSIStorageCapacity: its row.

mod strategy;

use crate::kinds::{Columns, Row, Verbs};

pub const KIND: Row = Row {
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
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
