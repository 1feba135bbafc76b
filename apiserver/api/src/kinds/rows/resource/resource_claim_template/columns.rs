//! ResourceClaimTemplate: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{age, name, row},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[NAME, AGE],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    row![name(object), age(object, now)]
}
