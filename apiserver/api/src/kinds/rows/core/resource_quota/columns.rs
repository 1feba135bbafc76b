//! ResourceQuota: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{age, column, name, quantity, row},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "Request",
            "string",
            "Request represents a minimum amount of cpu/memory that a container may consume.",
        ),
        column(
            "Limit",
            "string",
            "Limits control the maximum amount of cpu/memory that a container may use independent of contention on the node.",
        ),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let status = &object["status"];
    let mut names: Vec<&String> = status["hard"]
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name)
        .collect();
    names.sort();
    let (limits, requests): (Vec<&String>, Vec<&String>) = names
        .into_iter()
        .partition(|name| name.starts_with("limits."));
    let joined = |names: Vec<&String>| {
        let used = |name: &String| {
            format!(
                "{name}: {}/{}",
                quantity(&status["used"][name], "0"),
                quantity(&status["hard"][name], "0")
            )
        };
        names.into_iter().map(used).collect::<Vec<_>>().join(", ")
    };
    row![
        name(object),
        joined(requests),
        joined(limits),
        age(object, now)
    ]
}
