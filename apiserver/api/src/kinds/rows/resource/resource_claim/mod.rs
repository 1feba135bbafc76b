//! ResourceClaim: its row.

mod columns;

use crate::kinds::{Row, Strategy, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceClaim",
    plural: "resourceclaims",
    singular: "resourceclaim",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "resource.v1.ResourceClaim",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { has_status: true, returns_deleted: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
