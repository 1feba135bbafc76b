//! LocalSubjectAccessReview: its row.

use crate::kinds::{Columns, Review, Row, Strategy, Verbs};

pub const KIND: Row = Row {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::CreateOnly,
    subresources: &[],
    schema: "authorization.v1.LocalSubjectAccessReview",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy::answered(Review::LocalSubjectAccess),
    stored_as: None,
    storage_version: None,
};
