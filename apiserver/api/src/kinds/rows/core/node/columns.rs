//! Node: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{NONE, UNKNOWN, age, column, flag, list, name, row, text, text_or, wide},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column("Status", "string", "The status of the node"),
        column("Roles", "string", "The roles of the node"),
        AGE,
        column("Version", "string", "Kubelet Version reported by the node."),
        wide(
            "Internal-IP",
            "string",
            "List of addresses reachable to the node. Queried from cloud provider, if available. More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but the merge key is not sufficiently unique, which can cause data corruption when it is merged. Callers should instead use a full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that addresses can change during the lifetime of a Node. However, there are some exceptions where this may not be possible, such as Pods that inherit a Node's address in its own status or consumers of the downward API (status.hostIP).",
        ),
        wide(
            "External-IP",
            "string",
            "List of addresses reachable to the node. Queried from cloud provider, if available. More info: https://kubernetes.io/docs/reference/node/node-status/#addresses Note: This field is declared as mergeable, but the merge key is not sufficiently unique, which can cause data corruption when it is merged. Callers should instead use a full-replacement patch. See https://pr.k8s.io/79391 for an example. Consumers should assume that addresses can change during the lifetime of a Node. However, there are some exceptions where this may not be possible, such as Pods that inherit a Node's address in its own status or consumers of the downward API (status.hostIP).",
        ),
        wide(
            "OS-Image",
            "string",
            "OS Image reported by the node from /etc/os-release (e.g. Debian GNU/Linux 7 (wheezy)).",
        ),
        wide(
            "Kernel-Version",
            "string",
            "Kernel Version reported by the node from 'uname -r' (e.g. 3.16.0-0.bpo.4-amd64).",
        ),
        wide(
            "Container-Runtime",
            "string",
            "ContainerRuntime Version reported by the node through runtime remote API (e.g. containerd://1.4.2).",
        ),
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    let info = &object["status"]["nodeInfo"];
    let kernel = text_or(&info["kernelVersion"], UNKNOWN);
    let kernel = match text(&info["architecture"]) {
        "" => kernel.to_string(),
        architecture => format!("{kernel} ({architecture})"),
    };
    row![
        name(object),
        status(object),
        roles(object),
        age(object, now),
        text(&info["kubeletVersion"]),
        address(object, "InternalIP"),
        address(object, "ExternalIP"),
        text_or(&info["osImage"], UNKNOWN),
        kernel,
        text_or(&info["containerRuntimeVersion"], UNKNOWN)
    ]
}

fn status(node: &Value) -> String {
    let ready = list(&node["status"]["conditions"])
        .iter()
        .rfind(|condition| condition["type"] == "Ready");
    let word = ready.map_or("Unknown", |condition| {
        if condition["status"] == "True" {
            "Ready"
        } else {
            "NotReady"
        }
    });
    if flag(&node["spec"]["unschedulable"]) {
        format!("{word},SchedulingDisabled")
    } else {
        word.to_string()
    }
}

/// The roles that labels name: `node-role.kubernetes.io/ROLE`, or `kubernetes.io/role: ROLE`.
fn roles(node: &Value) -> String {
    let labels = node["metadata"]["labels"].as_object().into_iter().flatten();
    let roles: BTreeSet<&str> = labels
        .filter_map(|(key, value)| {
            if key == "kubernetes.io/role" {
                value.as_str()
            } else {
                key.strip_prefix("node-role.kubernetes.io/")
            }
        })
        .filter(|role| !role.is_empty())
        .collect();
    if roles.is_empty() {
        NONE.to_string()
    } else {
        roles.into_iter().collect::<Vec<_>>().join(",")
    }
}

/// The first address of a type.
fn address<'a>(node: &'a Value, of_type: &str) -> &'a str {
    list(&node["status"]["addresses"])
        .iter()
        .find(|address| address["type"] == of_type)
        .map_or(NONE, |address| text(&address["address"]))
}
