//! ReplicationController: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs, subresource::SCALE};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "ReplicationController",
    plural: "replicationcontrollers",
    singular: "replicationcontroller",
    short_names: &["rc"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Scale(&SCALE), Subresource::Status],
    schema: "core.v1.ReplicationController",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy {
        defaults: crate::kinds::rows::apps::defaults::replication_controller,
        has_generation: true,
        orphan_by_default: true,
        has_status: true,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
