//! CronJob: its row.

mod strategy;

mod columns;

use crate::kinds::{Row, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "batch",
    version: "v1",
    kind: "CronJob",
    plural: "cronjobs",
    singular: "cronjob",
    short_names: &["cj"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "batch.v1.CronJob",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
