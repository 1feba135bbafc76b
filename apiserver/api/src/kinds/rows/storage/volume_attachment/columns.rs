//! VolumeAttachment: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Column, Columns,
    cells::{age, column, flag, name, row, text},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        Column {
            format: "name",
            ..column(
                "Attacher",
                "string",
                "attacher indicates the name of the volume driver that MUST handle this request. This is the name returned by GetPluginName().",
            )
        },
        column(
            "PV",
            "string",
            "persistentVolumeName represents the name of the persistent volume to attach.",
        ),
        column(
            "Node",
            "string",
            "nodeName represents the node that the volume should be attached to.",
        ),
        column(
            "Attached",
            "boolean",
            "attached indicates the volume is successfully attached. This field must only be set by the entity completing the attach operation, i.e. the external-attacher.",
        ),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    row![
        name(object),
        text(&object["spec"]["attacher"]),
        text(&object["spec"]["source"]["persistentVolumeName"]),
        text(&object["spec"]["nodeName"]),
        flag(&object["status"]["attached"]),
        age(object, now)
    ]
}
