//! ResourceClaimTemplate: its row.

mod columns;

use crate::kinds::{Row, Strategy, Verbs};

pub const KIND: Row = Row {
    group: "resource.k8s.io",
    version: "v1",
    kind: "ResourceClaimTemplate",
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "resource.v1.ResourceClaimTemplate",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { returns_deleted: true, update_checks: crate::kinds::UpdateChecks::Both, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
