//! Role: its row.

use crate::kinds::{Columns, Row, Verbs};

pub const KIND: Row = Row {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "Role",
    plural: "roles",
    singular: "role",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "rbac.v1.Role",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: super::rules::ROLE,
    stored_as: None,
    storage_version: None,
};
