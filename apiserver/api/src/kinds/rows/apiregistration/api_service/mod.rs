//! APIService: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_status: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
