//! APIService: its row.

mod columns;
mod validation;

use crate::kinds::{Row, Strategy, Subresource, Verbs, strategy::path_segment};

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
        validate_name: path_segment,
        defaults: validation::defaults,
        stamp: Some(validation::stamp),
        validate: validation::validate,
        validate_update: |new, _| validation::validate(new),
        allow_unconditional_update: false,
        has_status: true,
        any_finalizers: true,
        update_checks: crate::kinds::UpdateChecks::Both,
        without_effect: |service| {
            let told = "this server forwards to no other API servers: the object is stored, and its group is not served";
            service["spec"]
                .get("service")
                .is_some_and(|of| !of.is_null())
                .then_some(told)
        },
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
