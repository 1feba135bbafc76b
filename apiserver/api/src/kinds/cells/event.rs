//! The cells of an event, in either of its forms. Follows `pkg/printers/internalversion/printers.go` (printEvent).

use super::{Make, Makers, Of, moment, or, since};
use crate::{
    kinds::Cell,
    machinery::{meta::Meta, read::Read},
};

pub(super) const MAKERS: Makers = &[
    ("event", Make::Many(|of| cells(of, &NEW))),
    ("event.core", Make::Many(|of| cells(of, &CORE))),
];

/// What the two forms of an event call the same field.
struct Fields {
    first: &'static str,
    last: &'static str,
    count: &'static str,
    regarding: &'static str,
    source: &'static str,
    controller: &'static str,
    message: &'static str,
}

const CORE: Fields = Fields {
    first: "firstTimestamp",
    last: "lastTimestamp",
    count: "count",
    regarding: "involvedObject",
    source: "source",
    controller: "reportingComponent",
    message: "message",
};

const NEW: Fields = Fields {
    first: "deprecatedFirstTimestamp",
    last: "deprecatedLastTimestamp",
    count: "deprecatedCount",
    regarding: "regarding",
    source: "deprecatedSource",
    controller: "reportingController",
    message: "note",
};

/// A series tells when and how often it was seen last; else the event itself.
fn cells(of: &Of<'_>, fields: &Fields) -> Vec<Cell> {
    let event = of.object;
    let seen = |field: &str| moment(event.at(field)).map(|_| since(event.at(field), of.now));
    let first = seen(fields.first).unwrap_or_else(|| since(event.at("eventTime"), of.now));
    let (last, count) = match event.some("series") {
        None => (
            seen(fields.last).unwrap_or_else(|| first.clone()),
            event.int(fields.count).max(1),
        ),
        Some(series) => (
            since(series.at("lastObservedTime"), of.now),
            series.int("count"),
        ),
    };
    let regarding = event.at(fields.regarding);
    let kind = regarding.text("kind").to_lowercase();
    let target = match regarding.text("name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = event.at(fields.source);
    let component = or(source.text("component"), event.text(fields.controller));
    let origin = match or(source.text("host"), event.text("reportingInstance")) {
        "" => component.to_string(),
        instance => format!("{component}, {instance}"),
    };
    vec![
        last.into(),
        event.text("type").into(),
        event.text("reason").into(),
        target.into(),
        regarding.text("fieldPath").into(),
        origin.into(),
        event.text(fields.message).trim().into(),
        first.into(),
        count.into(),
        event.name().into(),
    ]
}
