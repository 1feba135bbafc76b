//! APIService: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "apiregistration.k8s.io",
    version: "v1",
    kind: "APIService",
    plural: "apiservices",
    singular: "apiservice",
    short_names: &[],
    categories: &["api-extensions"],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "apiregistration.v1.APIService",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { has_status: true, any_finalizers: true, update_checks: crate::kinds::UpdateChecks::Both, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
