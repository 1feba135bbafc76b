//! Pod: its row.

pub mod defaults;
pub mod strategy;

use crate::kinds::{Columns, Kind, Subresource, Verbs};

pub const KIND: Kind = Kind {
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
        Subresource::Proxy("PodProxyOptions"),
        Subresource::Resize,
        Subresource::Status,
    ],
    schema: "core.v1.Pod",
    selectable: strategy::SELECTABLE,
    columns: Columns::NAME_AND_AGE,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
