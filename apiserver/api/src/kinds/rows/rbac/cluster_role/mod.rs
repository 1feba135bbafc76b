//! ClusterRole: its row.

use crate::kinds::{Columns, Row, Verbs};

pub const KIND: Row = Row {
    group: "rbac.authorization.k8s.io",
    version: "v1",
    kind: "ClusterRole",
    plural: "clusterroles",
    singular: "clusterrole",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "rbac.v1.ClusterRole",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: super::rules::CLUSTER_ROLE,
    stored_as: None,
    storage_version: None,
};
