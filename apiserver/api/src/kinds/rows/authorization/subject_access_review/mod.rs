//! SubjectAccessReview: its row.

use crate::kinds::{Columns, Review, Row, Strategy, Verbs};

pub const KIND: Row = Row {
    group: "authorization.k8s.io",
    version: "v1",
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::CreateOnly,
    subresources: &[],
    schema: "authorization.v1.SubjectAccessReview",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy::answered(Review::SubjectAccess),
    stored_as: None,
    storage_version: None,
};
