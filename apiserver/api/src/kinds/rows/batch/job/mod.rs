//! Job: its row.

pub mod strategy;

use crate::kinds::{Columns, Kind, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "batch",
    version: "v1",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    short_names: &[],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "batch.v1.Job",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
