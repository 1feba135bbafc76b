//! Service: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Proxy("ServiceProxyOptions"), Subresource::Status],
    schema: "core.v1.Service",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_status: true, returns_deleted: true, allow_create_on_update: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
