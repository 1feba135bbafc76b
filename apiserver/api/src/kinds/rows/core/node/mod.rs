//! Node: its row.

mod columns;
mod strategy;

use crate::kinds::{Proxied, Row, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Proxy(Proxied::Node), Subresource::Status],
    schema: "core.v1.Node",
    selectable: &[crate::kinds::Selectable {
        path: "spec.unschedulable",
        value: |n| (n["spec"]["unschedulable"] == true).to_string(),
    }],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
