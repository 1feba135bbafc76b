//! DeviceClass: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "resource.k8s.io",
    version: "v1",
    kind: "DeviceClass",
    plural: "deviceclasses",
    singular: "deviceclass",
    short_names: &[],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "resource.v1.DeviceClass",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { returns_deleted: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
