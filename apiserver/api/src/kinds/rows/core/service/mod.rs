//! Service: its row.

pub mod strategy;

use crate::kinds::{Columns, Kind, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Proxy("ServiceProxyOptions"), Subresource::Status],
    schema: "core.v1.Service",
    selectable: strategy::SELECTABLE,
    columns: Columns::NAME_AND_AGE,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
