//! SelfSubjectReview: its row.

use crate::kinds::{Columns, Review, Row, Strategy, Verbs};

pub const KIND: Row = Row {
    group: "authentication.k8s.io",
    version: "v1",
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::CreateOnly,
    subresources: &[],
    schema: "authentication.v1.SelfSubjectReview",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy::answered(Review::SelfSubject),
    stored_as: None,
    storage_version: None,
};
