//! Events, by either face. What core/v1 takes is checked for being about something of its own namespace, and for who reports it once it has an
//! `eventTime`; events.k8s.io/v1 wants more, and lets nothing but the series change.
//!
//! Invariant: both faces speak of fields by core/v1's names, as upstream does. Follows `pkg/apis/core/validation/events.go`.

use super::convert;
use crate::kinds::prelude::*;
use crate::kinds::validation::checks::{IMMUTABLE, immutable, invalid_shown, qualified_name};

pub const STRATEGY: Strategy = Strategy {
    validate: create,
    validate_update: update,
    ..Strategy::DEFAULT
};

pub const CORE_STRATEGY: Strategy = Strategy {
    validate: core,
    validate_update: |new, _| core(new),
    stored_as: Some(&convert::CORE),
    ..Strategy::DEFAULT
};

const LONGEST_NOTE: usize = 1024;
const LONGEST_WORD: usize = 128;
const UNSET: &str = "needs to be unset";

/// How a face calls what is checked.
struct Face {
    regarding: &'static str,
    note: &'static str,
    controller: &'static str,
}

const CORE: Face = Face {
    regarding: "involvedObject",
    note: "message",
    controller: "reportingComponent",
};
const NEW: Face = Face {
    regarding: "regarding",
    note: "note",
    controller: "reportingController",
};

/// Both creation and update by core/v1.
fn core(event: &Value) -> Errors {
    Errors::of(|errors| common(event, &CORE, errors))
}

/// Creation by events.k8s.io/v1.
fn create(event: &Value) -> Errors {
    let mut errors = Errors::default();
    common(event, &NEW, &mut errors);
    series(event, &mut errors);
    if event.some("eventTime").is_none() {
        errors.required(&Path::new("eventTime"), "");
    }
    let kind = event.text("type");
    if !["Normal", "Warning"].contains(&kind) {
        errors.invalid(&Path::new("type"), "", format!("has invalid value: {kind}"));
    }
    let source = event.at("deprecatedSource");
    for (name, set) in [
        (
            "firstTimestamp",
            event.some("deprecatedFirstTimestamp").is_some(),
        ),
        (
            "lastTimestamp",
            event.some("deprecatedLastTimestamp").is_some(),
        ),
        ("count", event.int("deprecatedCount") != 0),
        (
            "source",
            !source.text("component").is_empty() || !source.text("host").is_empty(),
        ),
    ] {
        if set {
            errors.invalid(&Path::new(name), "", UNSET);
        }
    }
    errors
}

fn common(event: &Value, face: &Face, errors: &mut Errors) {
    let (own, about) = (
        event.at("metadata").text("namespace"),
        event.at(face.regarding).text("namespace"),
    );
    let timed = event.some("eventTime").is_some();
    let agrees = match (timed, about) {
        (false, "") => ["", "default"].contains(&own),
        (false, about) => about == own,
        (true, "") => ["default", "kube-system"].contains(&own),
        (true, _) => true,
    };
    if !agrees {
        errors.invalid(
            &Path::new("involvedObject.namespace"),
            about,
            "does not match event.namespace",
        );
    }
    if timed {
        reported(event, face, errors);
    }
}

/// What newer events say of who reports them, and of what happened.
fn reported(event: &Value, face: &Face, errors: &mut Errors) {
    let controller = event.text(face.controller);
    let path = Path::new(face.controller);
    if controller.is_empty() {
        errors.required(&path, "");
    }
    qualified_name(controller, &path, errors);
    for field in ["reportingInstance", "action", "reason"] {
        if event.text(field).is_empty() {
            errors.required(&Path::new(field), "");
        }
        at_most(event.text(field), LONGEST_WORD, field, errors);
    }
    at_most(event.text(face.note), LONGEST_NOTE, "message", errors);
}

fn at_most(text: &str, most: usize, field: &str, errors: &mut Errors) {
    if text.len() > most {
        errors.invalid(
            &Path::new(field),
            "",
            format!("can have at most {most} characters"),
        );
    }
}

fn series(event: &Value, errors: &mut Errors) {
    let Some(series) = event.some("series") else {
        return;
    };
    if series.int("count") < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if series.some("lastObservedTime").is_none() {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}

/// How a field that may not change is compared and shown.
enum Shown {
    Text,
    Number,
    /// A time, or a pointer: nothing is `null`.
    Nullable,
    Hub(&'static str),
    /// A pointer to such a one.
    HubOrNull(&'static str),
}

/// The fields that stay as they are, as upstream calls them and in its order (in which the reason comes twice).
const FIXED: [(&str, &str, Shown); 14] = [
    (
        "regarding",
        "involvedObject",
        Shown::Hub("core.ObjectReference"),
    ),
    ("reason", "reason", Shown::Text),
    ("note", "message", Shown::Text),
    ("deprecatedSource", "source", Shown::Hub("core.EventSource")),
    (
        "deprecatedFirstTimestamp",
        "firstTimestamp",
        Shown::Nullable,
    ),
    ("deprecatedLastTimestamp", "lastTimestamp", Shown::Nullable),
    ("deprecatedCount", "count", Shown::Number),
    ("reason", "reason", Shown::Text),
    ("type", "type", Shown::Text),
    ("eventTime", "eventTime", Shown::Nullable),
    ("action", "action", Shown::Text),
    (
        "related",
        "related",
        Shown::HubOrNull("core.ObjectReference"),
    ),
    ("reportingController", "reportingController", Shown::Text),
    ("reportingInstance", "reportingInstance", Shown::Text),
];

/// Update by events.k8s.io/v1.
fn update(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::default();
    common(new, &NEW, &mut errors);
    if new.some("series") != old.some("series") {
        series(new, &mut errors);
    }
    for (field, told, shown) in FIXED {
        fixed(new, old, field, &Path::new(told), &shown, &mut errors);
    }
    errors
}

fn fixed(new: &Value, old: &Value, field: &str, path: &Path, shown: &Shown, errors: &mut Errors) {
    match shown {
        Shown::Text if new.text(field) != old.text(field) => {
            errors.invalid(path, new.text(field), IMMUTABLE)
        }
        Shown::Number if new.int(field) != old.int(field) => {
            errors.invalid(path, new.int(field), IMMUTABLE)
        }
        Shown::Nullable => immutable(new.some(field), old.some(field), path, errors),
        Shown::Hub(kind) => {
            let (new, old) = (
                internal::json(new.at(field), kind),
                internal::json(old.at(field), kind),
            );
            if new != old {
                invalid_shown(&new, IMMUTABLE, path, errors);
            }
        }
        Shown::HubOrNull(kind) => match (new.some(field), old.some(field)) {
            (None, None) => {}
            (None, Some(_)) => errors.invalid(path, Value::Null, IMMUTABLE),
            (Some(given), None) => {
                invalid_shown(&internal::json(given, kind), IMMUTABLE, path, errors)
            }
            (Some(_), Some(_)) => fixed(new, old, field, path, &Shown::Hub(kind), errors),
        },
        Shown::Text | Shown::Number => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Value {
        json!({"metadata": {"name": "e", "namespace": "n"}, "regarding": {"kind": "Pod", "namespace": "n", "name": "p"}, "eventTime": "2026-01-02T03:04:05.000000Z",
            "reportingController": "a.b/c", "reportingInstance": "c-1", "action": "Run", "reason": "Started", "type": "Normal", "note": "it began"})
    }

    #[test]
    fn what_a_new_event_may_say() {
        for (field, value, said) in [
            ("note", json!("x"), "[]".to_string()),
            ("regarding", json!({}), "involvedObject.namespace: Invalid value: \"\": does not match event.namespace".into()),
            ("regarding", json!({"namespace": "other"}), "[]".into()),
            ("action", json!(""), "action: Required value".into()),
            ("reason", json!("x".repeat(129)), "reason: Invalid value: \"\": can have at most 128 characters".into()),
            ("note", json!("x".repeat(1025)), "message: Invalid value: \"\": can have at most 1024 characters".into()),
            ("type", json!("odd"), "type: Invalid value: \"\": has invalid value: odd".into()),
            ("deprecatedCount", json!(1), "count: Invalid value: \"\": needs to be unset".into()),
            ("deprecatedSource", json!({"host": "h"}), "source: Invalid value: \"\": needs to be unset".into()),
            ("series", json!({"count": 1}), "[series.count: Invalid value: \"\": should be at least 2, series.lastObservedTime: Required value]".into()),
            ("eventTime", json!(null), "eventTime: Required value".into()),
        ] {
            let mut event = event();
            event[field] = value;
            assert_eq!(create(&event).message(), said, "{field}");
        }
    }

    #[test]
    fn the_older_face_asks_for_less() {
        for (namespace, about, said) in [
            ("n", "n", "[]"),
            ("default", "", "[]"),
            (
                "n",
                "",
                "involvedObject.namespace: Invalid value: \"\": does not match event.namespace",
            ),
            (
                "n",
                "m",
                "involvedObject.namespace: Invalid value: \"m\": does not match event.namespace",
            ),
        ] {
            let event = json!({"metadata": {"namespace": namespace}, "involvedObject": {"namespace": about}, "type": "odd"});
            assert_eq!(core(&event).message(), said);
        }
        let timed = json!({"metadata": {"namespace": "default"}, "eventTime": "2026-01-02T03:04:05.000000Z", "reportingComponent": "c", "reportingInstance": "i",
            "action": "a"});
        assert_eq!(core(&timed).message(), "reason: Required value");
    }

    #[test]
    fn nothing_but_the_series_changes() {
        for (field, value, said) in [
            (
                "series",
                json!({"count": 2, "lastObservedTime": "2026-01-02T03:04:06.000000Z"}),
                "[]",
            ),
            (
                "reason",
                json!("x"),
                "reason: Invalid value: \"x\": field is immutable",
            ),
            (
                "deprecatedCount",
                json!(-1),
                "count: Invalid value: -1: field is immutable",
            ),
            (
                "deprecatedFirstTimestamp",
                json!("2026-01-02T03:04:05Z"),
                "firstTimestamp: Invalid value: \"2026-01-02T03:04:05Z\": field is immutable",
            ),
            (
                "deprecatedSource",
                json!({"host": "h"}),
                "source: Invalid value: {\"Component\":\"\",\"Host\":\"h\"}: field is immutable",
            ),
            (
                "related",
                json!({"name": "x"}),
                "related: Invalid value: {\"Kind\":\"\",\"Namespace\":\"\",\"Name\":\"x\",\"UID\":\"\",\"APIVersion\":\"\",\"ResourceVersion\":\"\",\"FieldPath\":\"\"}: field is immutable",
            ),
        ] {
            let (old, mut new) = (event(), event());
            new[field] = value;
            assert_eq!(update(&new, &old).message(), said, "{field}");
        }
    }
}
