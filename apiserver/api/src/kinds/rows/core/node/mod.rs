//! Node: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Node",
    plural: "nodes",
    singular: "node",
    short_names: &["no"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Proxy("NodeProxyOptions"), Subresource::Status],
    schema: "core.v1.Node",
    selectable: &[crate::kinds::Selectable { path: "spec.unschedulable", value: |n| (n["spec"]["unschedulable"] == true).to_string() }],
    columns: columns::COLUMNS,
    strategy: Strategy {
        keeps_status_on_create: true,
        defaults: |object| {
            if object["status"].get("allocatable").is_none()
                && let Some(capacity) = object["status"].get("capacity").cloned()
            {
                object["status"]["allocatable"] = capacity;
            }
        },
        has_status: true,
        unknown_field: crate::kinds::strategy::unsupported_field,
        update_checks: crate::kinds::UpdateChecks::Both,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
