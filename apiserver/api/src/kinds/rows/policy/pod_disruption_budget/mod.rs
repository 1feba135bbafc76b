//! PodDisruptionBudget: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "policy",
    version: "v1",
    kind: "PodDisruptionBudget",
    plural: "poddisruptionbudgets",
    singular: "poddisruptionbudget",
    short_names: &["pdb"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "policy.v1.PodDisruptionBudget",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_generation: true, has_status: true, allow_unconditional_update: false, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
