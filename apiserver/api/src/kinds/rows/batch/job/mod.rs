//! Job: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Subresource, Verbs};

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
    columns: columns::COLUMNS,
    strategy: Strategy { has_status: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
