//! Events are one store with two faces: core/v1 and events.k8s.io/v1. Stored as events.k8s.io/v1.
//!
//! Follows `pkg/apis/events/v1/conversion.go`.

use serde_json::{Map, Value};

use crate::kinds::{Alias, Selectable};

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

/// The reporter: the new field, else the old one's component.
fn source(event: &Value) -> String {
    let text = |value: &Value| {
        value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_string)
    };
    text(&event["deprecatedSource"]["component"])
        .or_else(|| text(&event["reportingController"]))
        .unwrap_or_default()
}

macro_rules! involved {
    ($field:literal) => {
        Selectable {
            path: concat!("involvedObject.", $field),
            value: |event| event["regarding"][$field].as_str().unwrap_or("").into(),
        }
    };
}

/// For both faces; values are read from the stored one.
pub const SELECTABLE: &[Selectable] = &[
    involved!("kind"),
    involved!("namespace"),
    involved!("name"),
    involved!("uid"),
    involved!("apiVersion"),
    involved!("resourceVersion"),
    involved!("fieldPath"),
    Selectable {
        path: "reason",
        value: |event| event["reason"].as_str().unwrap_or("").into(),
    },
    Selectable {
        path: "reportingComponent",
        value: |event| event["reportingController"].as_str().unwrap_or("").into(),
    },
    Selectable {
        path: "source",
        value: source,
    },
    Selectable {
        path: "type",
        value: |event| event["type"].as_str().unwrap_or("").into(),
    },
];

/// What the new face calls them, and the only names that it takes.
pub const FIELD_NAMES: &[(&str, &str)] = &[
    ("metadata.name", "metadata.name"),
    ("metadata.namespace", "metadata.namespace"),
    ("reason", "reason"),
    ("regarding.kind", "involvedObject.kind"),
    ("regarding.namespace", "involvedObject.namespace"),
    ("regarding.name", "involvedObject.name"),
    ("regarding.uid", "involvedObject.uid"),
    ("regarding.apiVersion", "involvedObject.apiVersion"),
    (
        "regarding.resourceVersion",
        "involvedObject.resourceVersion",
    ),
    ("regarding.fieldPath", "involvedObject.fieldPath"),
    ("reportingController", "reportingComponent"),
    ("type", "type"),
];
