//! Pod: its row.

mod app_armor;
pub mod defaults;
pub mod disabled;
mod image;
mod label_keys;
mod pod_level;
pub mod strategy;

mod columns;

use crate::kinds::{Proxied, Row, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "",
    version: "v1",
    kind: "Pod",
    plural: "pods",
    singular: "pod",
    short_names: &["po"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[
        Subresource::Attach,
        Subresource::Binding,
        Subresource::EphemeralContainers,
        Subresource::Eviction,
        Subresource::Exec,
        Subresource::Log,
        Subresource::PortForward,
        Subresource::Proxy(Proxied::Pod),
        Subresource::Resize,
        Subresource::Status,
    ],
    schema: "core.v1.Pod",
    selectable: strategy::SELECTABLE,
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
