//! EndpointSlice: its row.

mod columns;

use crate::kinds::{Generation, Kind, Strategy, Verbs};

pub const KIND: Kind = Kind {
    group: "discovery.k8s.io",
    version: "v1",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    short_names: &[],
    categories: &[],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[],
    schema: "discovery.v1.EndpointSlice",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        defaults: |object| {
            for port in object.as_object_mut().into_iter().flat_map(|map| crate::kinds::fill::each(map, "ports")) {
                crate::kinds::fill::absent(port, "name", "");
                crate::kinds::fill::absent(port, "protocol", "TCP");
            }
        },
        generation: Generation::Counted,
        update_checks: crate::kinds::UpdateChecks::New,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};
