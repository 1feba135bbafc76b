//! Deployment: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::{
    kinds::{
        Cell, Columns,
        cells::{CONTAINERS, IMAGES, age, column, containers, int, name, row, wide},
        table::{AGE, NAME},
    },
    machinery::selector::Selector,
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column("Ready", "string", "Number of the pod with ready state"),
        column(
            "Up-to-date",
            "string",
            "Total number of non-terminating pods targeted by this deployment that have the desired template spec.",
        ),
        column(
            "Available",
            "string",
            "Total number of available non-terminating pods (ready for at least minReadySeconds) targeted by this deployment.",
        ),
        AGE,
        CONTAINERS,
        IMAGES,
        wide(
            "Selector",
            "string",
            "Label selector for pods. Existing ReplicaSets whose pods are selected by this will be the ones affected by this deployment. It must match the pod template's labels.",
        ),
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let ready = format!(
        "{}/{}",
        int(&status["readyReplicas"]),
        int(&spec["replicas"])
    );
    let (names, images) = containers(&spec["template"]["spec"]);
    let selector = Selector::from_label_selector(Some(&spec["selector"]))
        .map_or_else(|_| "<invalid>".to_string(), |selector| selector.to_string());
    row![
        name(object),
        ready,
        int(&status["updatedReplicas"]),
        int(&status["availableReplicas"]),
        age(object, now),
        names,
        images,
        selector
    ]
}
