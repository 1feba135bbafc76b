//! CustomResourceDefinition: its row.

use crate::kinds::{Columns, Row, Strategy, Subresource, Verbs};

pub const KIND: Row = Row {
    group: "apiextensions.k8s.io",
    version: "v1",
    kind: "CustomResourceDefinition",
    plural: "customresourcedefinitions",
    singular: "customresourcedefinition",
    short_names: &["crd", "crds"],
    categories: &["api-extensions"],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "apiextensions.v1.CustomResourceDefinition",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy {
        has_status: true,
        any_finalizers: true,
        without_effect: |_| {
            Some(
                "this server serves no custom resources: the definition is stored, and its kind is not served",
            )
        },
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
