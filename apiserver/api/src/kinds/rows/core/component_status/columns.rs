//! ComponentStatus: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{column, list, name, row, text},
    table::NAME,
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column("Status", "string", "Status of the component conditions"),
        column("Message", "string", "Message of the component conditions"),
        column("Error", "string", "Error of the component conditions"),
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, _: Timestamp) -> Vec<Cell> {
    match list(&object["conditions"])
        .iter()
        .find(|condition| condition["type"] == "Healthy")
    {
        Some(condition) => {
            let status = if condition["status"] == "True" {
                "Healthy"
            } else {
                "Unhealthy"
            };
            row![
                name(object),
                status,
                text(&condition["message"]),
                text(&condition["error"])
            ]
        }
        None => row![name(object), "Unknown", "", ""],
    }
}
