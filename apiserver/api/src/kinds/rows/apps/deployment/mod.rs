//! Deployment: its row.

pub mod strategy;

mod columns;

use crate::kinds::{Row, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "apps",
    version: "v1",
    kind: "Deployment",
    plural: "deployments",
    singular: "deployment",
    short_names: &["deploy"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Scale, Subresource::Status],
    schema: "apps.v1.Deployment",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
