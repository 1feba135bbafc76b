//! PriorityClass: its row.

mod columns;

use crate::kinds::{Generation, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "scheduling.k8s.io",
    version: "v1",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[],
    schema: "scheduling.v1.PriorityClass",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        generation: Generation::Once,
        defaults: |object| {
            if let Some(map) = object.as_object_mut() {
                crate::kinds::fill::absent(map, "preemptionPolicy", "PreemptLowerPriority");
            }
        },
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
