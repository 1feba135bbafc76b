//! VolumeAttachment: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "storage.k8s.io",
    version: "v1",
    kind: "VolumeAttachment",
    plural: "volumeattachments",
    singular: "volumeattachment",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "storage.v1.VolumeAttachment",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { has_status: true, allow_unconditional_update: false, update_checks: crate::kinds::UpdateChecks::New, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
