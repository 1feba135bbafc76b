//! IngressClass: its row.

mod columns;

use crate::kinds::{Generation, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "IngressClass",
    plural: "ingressclasses",
    singular: "ingressclass",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "networking.v1.IngressClass",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { generation: Generation::Counted, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
