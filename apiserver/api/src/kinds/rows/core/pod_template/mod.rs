//! PodTemplate: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PodTemplate",
    plural: "podtemplates",
    singular: "podtemplate",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "core.v1.PodTemplate",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy {
        defaults: |object| {
            if let Some(map) = object.as_object_mut() {
                crate::kinds::rows::core::pod::defaults::template(map)
            }
        },
        returns_deleted: true,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
