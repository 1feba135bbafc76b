//! Events are one store with two faces: core/v1 and events.k8s.io/v1. Stored as events.k8s.io/v1.
//!
//! Follows `pkg/apis/events/v1/conversion.go`.

use crate::kinds::Alias;
use crate::kinds::prelude::*;

/// core/v1's name of a field and that of events.k8s.io/v1.
const FIELDS: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
    ("reportingComponent", "reportingController"),
];

pub static CORE: Alias = Alias {
    resource: "events.events.k8s.io",
    version: "v1",
    to_stored,
    from_stored,
    worked_on_as_stored: false,
};

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.remove(from) {
        map.insert(to.into(), value);
    }
}

fn to_stored(event: &mut Value) {
    if let Some(map) = event.as_object_mut() {
        FIELDS.iter().for_each(|(core, new)| rename(map, core, new));
    }
}

fn from_stored(event: &mut Value) {
    if let Some(map) = event.as_object_mut() {
        FIELDS.iter().for_each(|(core, new)| rename(map, new, core));
        // core/v1 writes these two always
        map.entry("reportingComponent").or_insert_with(|| "".into());
        map.entry("reportingInstance").or_insert_with(|| "".into());
    }
}
