//! HorizontalPodAutoscaler: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use super::convert::V1;
use crate::kinds::{
    Cell, Columns, rows::autoscaling::horizontal_pod_autoscaler_v2::columns::COLUMNS as STORED,
};

/// Those of the stored form, whose values they show.
pub const COLUMNS: Columns = Columns {
    columns: STORED.columns,
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let mut stored = object.clone();
    (V1.to_stored)(&mut stored);
    (STORED.cells)(&stored, now)
}
