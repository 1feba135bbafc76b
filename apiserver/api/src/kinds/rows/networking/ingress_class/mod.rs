//! IngressClass: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_generation: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
