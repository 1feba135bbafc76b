//! ClusterRoleBinding: its row.

mod columns;

use crate::kinds::{Row, Verbs};

pub const KIND: Row = Row {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "ClusterRoleBinding",
    plural: "clusterrolebindings",
    singular: "clusterrolebinding",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "rbac.v1.ClusterRoleBinding",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: super::rules::CLUSTER_ROLE_BINDING,
    stored_as: None,
    storage_version: None,
};
