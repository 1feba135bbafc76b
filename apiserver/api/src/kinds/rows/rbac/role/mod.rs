//! Role: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs, strategy};

pub const KIND: Kind = Kind {
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
    strategy: Strategy {
        validate_name: strategy::path_segment,
        allow_create_on_update: true,
        update_checks: crate::kinds::UpdateChecks::Both,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
