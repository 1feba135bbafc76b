//! HorizontalPodAutoscaler: its row.

use crate::kinds::{Columns, Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "autoscaling",
    version: "v2",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "autoscaling.v2.HorizontalPodAutoscaler",
    selectable: &[],
    columns: Columns::NAME_AND_AGE,
    strategy: Strategy { has_status: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
