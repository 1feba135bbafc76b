//! StatefulSet: its row.

pub mod strategy;

mod columns;

use crate::kinds::{Kind, Subresource, Verbs, subresource::SCALE};

pub const KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Scale(&SCALE), Subresource::Status],
    schema: "apps.v1.StatefulSet",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
