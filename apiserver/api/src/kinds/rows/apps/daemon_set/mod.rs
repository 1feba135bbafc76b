//! DaemonSet: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "apps",
    version: "v1",
    kind: "DaemonSet",
    plural: "daemonsets",
    singular: "daemonset",
    short_names: &["ds"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "apps.v1.DaemonSet",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { defaults: crate::kinds::rows::apps::defaults::daemon_set, has_generation: true, has_status: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
