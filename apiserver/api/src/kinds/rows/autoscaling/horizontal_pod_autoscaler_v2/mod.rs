//! HorizontalPodAutoscaler: its row.

pub mod columns;
pub mod strategy;
mod validation;

use crate::kinds::{Row, Subresource, Verbs};

pub const KIND: Row = Row {
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
    columns: columns::COLUMNS,
    strategy: strategy::STRATEGY,
    stored_as: None,
    storage_version: None,
};
