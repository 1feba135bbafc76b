//! IngressClass: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

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
    strategy: Strategy { has_generation: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
