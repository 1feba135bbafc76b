//! ServiceCIDR: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{age, column, list, name, row, text},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "CIDRs",
            "string",
            "CIDRs defines the IP blocks in CIDR notation (e.g. \"192.168.0.0/24\" or \"2001:db8::/64\") from which to assign service cluster IPs. Max of two CIDRs is allowed, one of each IP family. This field is immutable.",
        ),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let cidrs: Vec<&str> = list(&object["spec"]["cidrs"]).iter().map(text).collect();
    row![name(object), cidrs.join(","), age(object, now)]
}
