//! FlowSchema: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{NONE, age, column, condition, int, name, row, text},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "PriorityLevel",
            "string",
            "`name` is the name of the priority level configuration being referenced Required.",
        ),
        column(
            "MatchingPrecedence",
            "string",
            "`matchingPrecedence` is used to choose among the FlowSchemas that match a given request. The chosen FlowSchema is among those with the numerically lowest (which we take to be logically highest) MatchingPrecedence.  Each MatchingPrecedence value must be ranged in [1,10000]. Note that if the precedence is not specified, it will be set to 1000 as default.",
        ),
        column(
            "DistinguisherMethod",
            "string",
            "`distinguisherMethod` defines how to compute the flow distinguisher for requests that match this schema. `nil` specifies that the distinguisher is disabled and thus will always be the empty string.",
        ),
        AGE,
        column(
            "MissingPL",
            "string",
            "references a broken or non-existent PriorityLevelConfiguration",
        ),
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let spec = &object["spec"];
    let method = if spec["distinguisherMethod"].is_null() {
        NONE
    } else {
        text(&spec["distinguisherMethod"]["type"])
    };
    let dangling =
        condition(object, "Dangling").map_or("?", |condition| text(&condition["status"]));
    row![
        name(object),
        text(&spec["priorityLevelConfiguration"]["name"]),
        int(&spec["matchingPrecedence"]),
        method,
        age(object, now),
        dangling
    ]
}
