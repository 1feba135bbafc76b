//! RoleBinding: its row.

mod columns;

use crate::kinds::{Row, Verbs};

pub const KIND: Row = Row {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "RoleBinding",
    plural: "rolebindings",
    singular: "rolebinding",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "rbac.v1.RoleBinding",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: super::rules::ROLE_BINDING,
    stored_as: None,
    storage_version: None,
};
