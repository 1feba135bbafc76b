//! PodDisruptionBudget: its row.

mod columns;

use crate::kinds::{Generation, Kind, Strategy, Subresource, Verbs};

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
    columns: columns::COLUMNS,
    strategy: Strategy {
        generation: Generation::Counted,
        has_status: true,
        allow_unconditional_update: false,
        update_checks: crate::kinds::UpdateChecks::New,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
