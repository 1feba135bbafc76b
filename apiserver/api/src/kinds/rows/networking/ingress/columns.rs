//! Ingress: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{NONE, age, column, list, load_balancer, name, row, size, text},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "Class",
            "string",
            "The name of the IngressClass resource that should be used for additional configuration",
        ),
        column(
            "Hosts",
            "string",
            "Hosts that incoming requests are matched against before the ingress rule",
        ),
        column(
            "Address",
            "string",
            "Address is a list containing ingress points for the load-balancer",
        ),
        column("Ports", "string", "Ports of TLS configurations that open"),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let spec = &object["spec"];
    let ports = if size(&spec["tls"]) > 0 {
        "80, 443"
    } else {
        "80"
    };
    row![
        name(object),
        spec["ingressClassName"].as_str().unwrap_or(NONE),
        hosts(list(&spec["rules"])),
        load_balancer(&object["status"]),
        ports,
        age(object, now)
    ]
}

/// The hosts of the rules, three at most. Rules after the third host count as more, whether they name a host or not.
fn hosts(rules: &[Value]) -> String {
    const MAX: usize = 3;
    let named: Vec<usize> = (0..rules.len())
        .filter(|&index| !text(&rules[index]["host"]).is_empty())
        .collect();
    let shown = named
        .iter()
        .take(MAX)
        .map(|&index| text(&rules[index]["host"]))
        .collect::<Vec<_>>()
        .join(",");
    match named.get(MAX - 1) {
        _ if shown.is_empty() => "*".to_string(),
        Some(&third) if third + 1 < rules.len() => {
            format!("{shown} + {} more...", rules.len() - MAX)
        }
        _ => shown,
    }
}
