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
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_status: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
