//! Lease: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "coordination.k8s.io",
    version: "v1",
    kind: "Lease",
    plural: "leases",
    singular: "lease",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "coordination.v1.Lease",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { allow_unconditional_update: false, allow_create_on_update: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
