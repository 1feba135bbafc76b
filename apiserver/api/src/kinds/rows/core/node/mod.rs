//! Node: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

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
    columns: Columns::NAME_AND_AGE,
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
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
