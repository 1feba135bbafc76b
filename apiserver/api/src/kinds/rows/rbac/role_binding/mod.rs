//! RoleBinding: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Verbs, strategy};

pub const KIND: Kind = Kind {
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
    strategy: Strategy {
        defaults: |object| {
            crate::kinds::fill::text(crate::machinery::meta::child_mut(object, "roleRef"), "apiGroup", "rbac.authorization.k8s.io");
            for subject in object.as_object_mut().into_iter().flat_map(|map| crate::kinds::fill::each(map, "subjects")) {
                if matches!(subject.get("kind").and_then(serde_json::Value::as_str), Some("User" | "Group")) {
                    crate::kinds::fill::text(subject, "apiGroup", "rbac.authorization.k8s.io");
                }
            }
        },
        validate_name: strategy::path_segment,
        allow_create_on_update: true,
        update_checks: crate::kinds::UpdateChecks::Both,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
