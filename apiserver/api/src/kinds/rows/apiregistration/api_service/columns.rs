//! APIService: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `k8s.io/kube-aggregator/pkg/registry/apiservice/etcd/etcd.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{age, column, condition, name, row, text},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "Service",
            "string",
            "The reference to the service that hosts this API endpoint.",
        ),
        column("Available", "string", "Whether this service is available."),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let service = match &object["spec"]["service"] {
        Value::Null => "Local".to_string(),
        service => format!("{}/{}", text(&service["namespace"]), text(&service["name"])),
    };
    let available = condition(object, "Available").map_or_else(
        || "Unknown".to_string(),
        |condition| match (text(&condition["status"]), text(&condition["reason"])) {
            ("True", _) => "True".to_string(),
            (status, "") => status.to_string(),
            (status, reason) => format!("{status} ({reason})"),
        },
    );
    row![name(object), service, available, age(object, now)]
}
