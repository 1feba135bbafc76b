//! IPAddress: its columns and how a row is filled. The row has an age that no column names, as upstream's.
//!
//! Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{NONE, age, column, name, row, text},
    table::NAME,
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "ParentRef",
            "string",
            "ParentRef references the resource that an IPAddress is attached to. An IPAddress must reference a parent object.",
        ),
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let parent = match &object["spec"]["parentRef"] {
        Value::Null => NONE.to_string(),
        parent => {
            let written = |before: &str, field: &str| match text(&parent[field]) {
                "" => String::new(),
                text => format!("{before}{text}"),
            };
            let resource =
                format!("{}{}", text(&parent["resource"]), written(".", "group")).to_lowercase();
            format!(
                "{resource}{}/{}",
                written("/", "namespace"),
                text(&parent["name"])
            )
        }
    };
    row![name(object), parent, age(object, now)]
}
