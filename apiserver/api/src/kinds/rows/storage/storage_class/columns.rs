//! StorageClass: its columns and how a row is filled.
//!
//! Invariant: one cell a column. Follows `pkg/printers/internalversion/printers.go`.

use jiff::Timestamp;
use serde_json::Value;

use crate::kinds::{
    Cell, Columns,
    cells::{age, annotation, column, flag, name, row, text},
    table::{AGE, NAME},
};

pub const COLUMNS: Columns = Columns {
    columns: &[
        NAME,
        column(
            "Provisioner",
            "string",
            "provisioner indicates the type of the provisioner.",
        ),
        column(
            "ReclaimPolicy",
            "string",
            "reclaimPolicy controls the reclaimPolicy for dynamically provisioned PersistentVolumes of this storage class. Defaults to Delete.",
        ),
        column(
            "VolumeBindingMode",
            "string",
            "volumeBindingMode indicates how PersistentVolumeClaims should be provisioned and bound.  When unset, VolumeBindingImmediate is used. This field is only honored by servers that enable the VolumeScheduling feature.",
        ),
        column(
            "AllowVolumeExpansion",
            "string",
            "allowVolumeExpansion shows whether the storage class allow volume expand.",
        ),
        AGE,
    ],
    cells,
    conditions: |_| Vec::new(),
};

fn cells(object: &Value, now: Timestamp) -> Vec<Cell> {
    const DEFAULT: [&str; 2] = [
        "storageclass.kubernetes.io/is-default-class",
        "storageclass.beta.kubernetes.io/is-default-class",
    ];
    let default = if DEFAULT
        .iter()
        .any(|key| annotation(object, key) == Some("true"))
    {
        " (default)"
    } else {
        ""
    };
    let mode = object["volumeBindingMode"].as_str().unwrap_or("Immediate");
    row![
        format!("{}{default}", name(object)),
        text(&object["provisioner"]),
        object["reclaimPolicy"].as_str().unwrap_or("Delete"),
        mode,
        flag(&object["allowVolumeExpansion"]),
        age(object, now)
    ]
}
