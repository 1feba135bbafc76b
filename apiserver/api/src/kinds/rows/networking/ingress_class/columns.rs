//! IngressClass: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{NONE, age, annotation, column, name, row, text},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "Controller",
            "string",
            "Controller that is responsible for handling this class",
        ),
        column(
            "Parameters",
            "string",
            "A reference to a resource with additional parameters",
        ),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let default =
        if annotation(object, "ingressclass.kubernetes.io/is-default-class") == Some("true") {
            " (default)"
        } else {
            ""
        };
    let parameters = match &object["spec"]["parameters"] {
        Value::Null => NONE.to_string(),
        reference => {
            let group = reference["apiGroup"]
                .as_str()
                .map(|group| format!(".{group}"))
                .unwrap_or_default();
            format!(
                "{}{group}/{}",
                text(&reference["kind"]),
                text(&reference["name"])
            )
        }
    };
    row![
        format!("{}{default}", name(object)),
        text(&object["spec"]["controller"]),
        parameters,
        age(object, now)
    ]
}
