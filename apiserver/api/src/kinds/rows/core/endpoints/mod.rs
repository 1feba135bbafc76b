//! Endpoints: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "core.v1.Endpoints",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        deprecation: Some("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
        allow_create_on_update: true,
        update_checks: crate::kinds::UpdateChecks::Both,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
