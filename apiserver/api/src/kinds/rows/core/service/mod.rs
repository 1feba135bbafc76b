//! Service: its row.

pub mod strategy;
mod validation;
mod warnings;

mod columns;

use crate::kinds::{Proxied, Row, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Proxy(Proxied::Service), Subresource::Status],
    schema: "core.v1.Service",
    selectable: strategy::SELECTABLE,
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
