//! ResourceSlice: its row.

mod attributes;
mod capacity;
mod columns;
mod device;
mod strategy;

use crate::kinds::{Row, Selectable, Verbs};

pub const KIND: Row = Row {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceSlice",
    plural: "resourceslices",
    singular: "resourceslice",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "resource.v1.ResourceSlice",
    selectable: &[
        Selectable {
            path: "spec.driver",
            value: |slice| slice["spec"]["driver"].as_str().unwrap_or("").into(),
        },
        Selectable {
            path: "spec.nodeName",
            value: |slice| slice["spec"]["nodeName"].as_str().unwrap_or("").into(),
        },
    ],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
