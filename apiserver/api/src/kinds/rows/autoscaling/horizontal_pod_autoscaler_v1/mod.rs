//! HorizontalPodAutoscaler: its row.

mod columns;

use crate::kinds::{Kind, Strategy, Subresource, Verbs};

pub const KIND: Kind = Kind {
    group: "autoscaling",
    version: "v1",
    kind: "HorizontalPodAutoscaler",
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    namespaced: true,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "autoscaling.v1.HorizontalPodAutoscaler",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy { has_status: true, ..Strategy::DEFAULT },
    stored_as: None,
    storage_version: None,
};
