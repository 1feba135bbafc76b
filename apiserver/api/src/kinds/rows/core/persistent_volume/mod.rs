//! PersistentVolume: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "core.v1.PersistentVolume",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy {
        defaults: |object| {
            let spec = crate::kinds::fill::spec(object);
            crate::kinds::fill::text(spec, "persistentVolumeReclaimPolicy", "Retain");
            crate::kinds::fill::absent(spec, "volumeMode", "Filesystem");
            if object["status"]["phase"].is_null() {
                object["status"]["phase"] = "Pending".into();
            }
        },
        prepare_for_create: |object| object["status"] = serde_json::json!({"phase": "Pending"}),
        keeps_status_on_create: true,
        has_status: true,
        returns_deleted: true,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
