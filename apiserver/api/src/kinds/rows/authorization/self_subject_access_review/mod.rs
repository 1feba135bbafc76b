//! SelfSubjectAccessReview: its row.

use crate::kinds::{Columns, Review, Row, Strategy, Verbs};

pub const KIND: Row = Row {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::CreateOnly,
    subresources: &[],
    schema: "authorization.v1.SelfSubjectAccessReview",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy::answered(Review::SelfSubjectAccess),
    stored_as: None,
    storage_version: None,
};
