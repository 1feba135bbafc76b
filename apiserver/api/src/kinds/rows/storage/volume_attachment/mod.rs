//! VolumeAttachment: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_status: true, allow_unconditional_update: false, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
