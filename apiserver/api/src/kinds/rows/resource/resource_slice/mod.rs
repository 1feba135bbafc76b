//! ResourceSlice: its row.

mod columns;

use crate::kinds::{Row, Selectable, Strategy, Verbs};

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
        Selectable { path: "spec.driver", value: |slice| slice["spec"]["driver"].as_str().unwrap_or("").into() },
        Selectable { path: "spec.nodeName", value: |slice| slice["spec"]["nodeName"].as_str().unwrap_or("").into() },
    ],
    columns: columns::COLUMNS,
    strategy: Strategy { returns_deleted: true, unknown_field, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};

fn unknown_field(field: &str) -> String {
    format!("field label not supported for resource.k8s.io/v1, Kind=ResourceSlice: {field}")
}
