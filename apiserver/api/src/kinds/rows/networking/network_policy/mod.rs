//! NetworkPolicy: its row.

mod columns;

use crate::kinds::{Generation, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "networking.v1.NetworkPolicy",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { generation: Generation::Counted, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
