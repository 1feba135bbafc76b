//! Ingress: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "networking.k8s.io",
    version: "v1",
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "networking.v1.Ingress",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_generation: true, has_status: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
