//! StatefulSet: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{CONTAINERS, IMAGES, age, column, containers, int, name, row},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column("Ready", "string", "Number of the pod with ready state"),
        AGE,
        CONTAINERS,
        IMAGES,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let ready = format!(
        "{}/{}",
        int(&object["status"]["readyReplicas"]),
        int(&object["spec"]["replicas"])
    );
    let (names, images) = containers(&object["spec"]["template"]["spec"]);
    row![name(object), ready, age(object, now), names, images]
}
