//! ControllerRevision: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{NONE, age, column, flag, int, list, name, row, text},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column("Controller", "string", "Controller of the object"),
        column(
            "Revision",
            "string",
            "Revision indicates the revision of the state represented by Data.",
        ),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    row![
        name(object),
        controller(object),
        int(&object["revision"]),
        age(object, now)
    ]
}

/// `kind.group/name` of the owner that controls the object.
fn controller(object: &Value) -> String {
    let Some(owner) = list(&object["metadata"]["ownerReferences"])
        .iter()
        .find(|owner| flag(&owner["controller"]))
    else {
        return NONE.to_string();
    };
    let kind = text(&owner["kind"]).to_lowercase();
    match text(&owner["apiVersion"]).split_once('/') {
        Some((group, _)) => format!("{kind}.{}/{}", group.to_lowercase(), text(&owner["name"])),
        None => format!("{kind}/{}", text(&owner["name"])),
    }
}
