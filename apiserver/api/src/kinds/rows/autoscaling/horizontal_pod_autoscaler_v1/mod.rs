//! HorizontalPodAutoscaler: its row.

mod columns;
mod convert;

use crate::kinds::{Row, Strategy, Subresource, Verbs};

pub const KIND: Row = Row {
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
    strategy: Strategy {
        has_status: true,
        defaults: convert::defaults,
        ..Strategy::DEFAULT
    },
    stored_as: Some(&convert::V1),
    storage_version: Some("autoscaling/v2/HorizontalPodAutoscaler"),
};
