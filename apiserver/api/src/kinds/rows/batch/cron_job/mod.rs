//! CronJob: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { defaults: crate::kinds::rows::apps::defaults::cron_job, has_generation: true, has_status: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
