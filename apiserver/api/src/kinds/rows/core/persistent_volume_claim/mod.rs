//! PersistentVolumeClaim: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolumeClaim",
    plural: "persistentvolumeclaims",
    singular: "persistentvolumeclaim",
    short_names: &["pvc"],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "core.v1.PersistentVolumeClaim",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        defaults: |object| {
            crate::kinds::fill::absent(crate::kinds::fill::spec(object), "volumeMode", "Filesystem");
            if object["status"]["phase"].is_null() {
                object["status"]["phase"] = "Pending".into();
            }
        },
        prepare_for_create: |object| object["status"] = serde_json::json!({"phase": "Pending"}),
        keeps_status_on_create: true,
        has_status: true,
        returns_deleted: true,
        update_checks: crate::kinds::UpdateChecks::Both,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
