//! PodTemplate: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{column, containers, labels, name, row},
    table::NAME,
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "Containers",
            "string",
            "Names of each container in the template.",
        ),
        column(
            "Images",
            "string",
            "Images referenced by each container in the template.",
        ),
        column("Pod Labels", "string", "The labels for the pod template."),
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, _: Timestamp) -> Vec<Cell> {
    let (names, images) = containers(&object["template"]["spec"]);
    row![
        name(object),
        names,
        images,
        labels(&object["template"]["metadata"]["labels"])
    ]
}
