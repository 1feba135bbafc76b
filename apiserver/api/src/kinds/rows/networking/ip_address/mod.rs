//! IPAddress: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "IPAddress",
    plural: "ipaddresses",
    singular: "ipaddress",
    short_names: &["ip"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "networking.v1.IPAddress",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy::DEFAULT,
    stored_as: None,
    storage_version: None,
};
