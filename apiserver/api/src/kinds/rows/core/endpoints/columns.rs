//! Endpoints: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{NONE, age, column, few, int, list, name, row, size, text},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "Endpoints",
            "string",
            "The set of all endpoints is the union of all subsets. Addresses are placed into subsets according to the IPs they share. A single address with multiple ports, some of which are ready and some of which are not (because they come from different containers) will result in the address being displayed in different subsets for the different ports. No address will appear in both Addresses and NotReadyAddresses in the same subset. Sets of addresses and ports that comprise a service.",
        ),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    row![
        name(object),
        endpoints(&object["subsets"]),
        age(object, now)
    ]
}

/// `ip:port` of each ready address and port, or the bare address where a headless service has no port.
fn endpoints(subsets: &Value) -> String {
    let mut addresses = Vec::new();
    for subset in list(subsets) {
        let ips = || {
            list(&subset["addresses"])
                .iter()
                .map(|address| text(&address["ip"]))
        };
        match list(&subset["ports"]) {
            [] => addresses.extend(ips().map(str::to_string)),
            ports => addresses.extend(
                ports
                    .iter()
                    .flat_map(|port| ips().map(|ip| host_port(ip, int(&port["port"])))),
            ),
        }
    }
    if size(subsets) == 0 {
        NONE.to_string()
    } else {
        few(&addresses, 3)
    }
}

fn host_port(ip: &str, port: i64) -> String {
    if ip.contains(':') {
        format!("[{ip}]:{port}")
    } else {
        format!("{ip}:{port}")
    }
}
