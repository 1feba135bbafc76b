//! APIService: its row.

mod columns;

use crate::kinds::{Row, Strategy, Subresource, Verbs};

pub const KIND: Row = Row {
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
    strategy: Strategy {
        has_status: true,
        any_finalizers: true,
        update_checks: crate::kinds::UpdateChecks::Both,
        without_effect: |service| {
            let told = "this server forwards to no other API servers: the object is stored, and its group is not served";
            service["spec"].get("service").is_some_and(|of| !of.is_null()).then_some(told)
        },
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
