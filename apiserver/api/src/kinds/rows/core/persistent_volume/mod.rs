//! PersistentVolume: its row.

mod columns;

use serde_json::Value;

use crate::kinds::{Kind, Stamp, Strategy, Subresource, Verbs};

/// When the phase last changed, unless the writer says it.
fn stamp(new: &mut Value, old: Option<&Value>, stamp: &Stamp<'_>) {
    const FIELD: &str = "lastPhaseTransitionTime";
    let had = old.map_or(&Value::Null, |old| &old["status"][FIELD]);
    let same = old.is_some_and(|old| old["status"]["phase"] == new["status"]["phase"]);
    let time = &new["status"][FIELD];
    let set = match same {
        true if time.is_null() => had.clone(),
        false if time.is_null() || time == had => stamp.now.into(),
        _ => return,
    };
    if !set.is_null() {
        new["status"][FIELD] = set;
    }
}

pub const KIND: Kind = Kind {
    group: "",
    version: "v1",
    kind: "PersistentVolume",
    plural: "persistentvolumes",
    singular: "persistentvolume",
    short_names: &["pv"],
    categories: &[],
    namespaced: false,
    verbs: Verbs::All,
    subresources: &[Subresource::Status],
    schema: "core.v1.PersistentVolume",
    selectable: &[],
    columns: columns::COLUMNS,
    strategy: Strategy {
        defaults: |object| {
            let spec = crate::kinds::fill::spec(object);
            crate::kinds::fill::text(spec, "persistentVolumeReclaimPolicy", "Retain");
            crate::kinds::fill::absent(spec, "volumeMode", "Filesystem");
            if object["status"]["phase"].is_null() {
                object["status"]["phase"] = "Pending".into();
            }
        },
        prepare_for_create: |object| object["status"] = serde_json::json!({"phase": "Pending"}),
        stamp: Some(stamp),
        keeps_status_on_create: true,
        has_status: true,
        returns_deleted: true,
        update_checks: crate::kinds::UpdateChecks::Both,
        ..Strategy::DEFAULT
    },
    stored_as: None,
    storage_version: None,
};

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn times_of_phases() {
        const NOW: &str = "2026-01-02T03:04:05Z";
        let status = |phase: &str, time: Value| json!({"status": {"phase": phase, "lastPhaseTransitionTime": time}});
        for (old, new, expected) in [
            (None, status("Pending", Value::Null), json!(NOW)),
            (Some(status("Pending", json!("T"))), status("Pending", Value::Null), json!("T")),
            (Some(status("Pending", json!("T"))), status("Available", json!("T")), json!(NOW)),
            (Some(status("Pending", json!("T"))), status("Available", json!("U")), json!("U")),
            (Some(status("Pending", json!("T"))), status("Pending", json!("U")), json!("U")),
            (Some(status("Pending", Value::Null)), status("Pending", Value::Null), Value::Null),
        ] {
            let mut changed = new.clone();
            stamp(&mut changed, old.as_ref(), &Stamp { now: NOW, user: &Value::Null });
            assert_eq!(changed["status"]["lastPhaseTransitionTime"], expected, "{old:?} {new}");
        }
    }
}
