//! PriorityClass: its row.

use crate::kinds::{Columns, Kind, Strategy, Verbs};

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
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy {
        has_generation: true,
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
