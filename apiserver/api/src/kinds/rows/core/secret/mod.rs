//! Secret: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "Secret",
    plural: "secrets",
    singular: "secret",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "core.v1.Secret",
    selectable: &[crate::kinds::Selectable { path: "type", value: |s| s["type"].as_str().unwrap_or("").into() }],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy {
        defaults: |object| {
            if let Some(map) = object.as_object_mut() {
                crate::kinds::fill::text(map, "type", "Opaque");
            }
        },
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
