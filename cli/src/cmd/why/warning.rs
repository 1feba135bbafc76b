//! Warnings about an object and about what belongs to it: of each sort the last one, and how often there was one.
//! Invariant: what a finding tells is not told again.
//! Behaviour follows nothing upstream: kubectl does not do this.

use std::fmt;

use serde_json::Value;

use super::finding::{Finding, mend};
use crate::typed::Read;

/// Events of one reason about one object.
#[derive(Debug, PartialEq)]
pub struct Warning {
    about: String,
    namespace: String,
    reason: String,
    message: String,
    times: i64,
    last: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.about, self.reason, self.message)?;
        match self.times {
            ..=1 => Ok(()),
            times => write!(f, " ({times} times)"),
        }
    }
}

/// When an event was seen last, as it is written.
fn last(event: &Value) -> &str {
    let times = [
        event.at("series").text("lastObservedTime"),
        event.text("lastTimestamp"),
        event.text("eventTime"),
        event.at("metadata").text("creationTimestamp"),
    ];
    times.into_iter().max().unwrap_or_default()
}

/// The warnings among events that are about one of these objects.
pub fn of(events: &[Value], uids: &[&str]) -> Vec<Warning> {
    let mut all: Vec<Warning> = Vec::new();
    for event in events {
        let about = event.at("involvedObject");
        if !uids.contains(&about.text("uid")) {
            continue;
        }
        let times = event.at("series").int("count").max(event.int("count"));
        let new = Warning {
            about: format!(
                "{}/{}",
                about.text("kind").to_lowercase(),
                about.text("name")
            ),
            namespace: about.text("namespace").into(),
            reason: event.text("reason").into(),
            message: event.text("message").trim().into(),
            times: times.max(1),
            last: last(event).into(),
        };
        let alike = |known: &&mut Warning| known.about == new.about && known.reason == new.reason;
        match all.iter_mut().find(alike) {
            None => all.push(new),
            Some(known) => {
                let times = known.times + new.times;
                if new.last >= known.last {
                    *known = new;
                }
                known.times = times;
            }
        }
    }
    all
}

impl Warning {
    /// Whether a finding says this.
    pub fn is_told(&self, by: &Finding) -> bool {
        let mine = by.what.strip_prefix(&*self.about);
        mine.is_some_and(|what| what.contains(&*self.reason) || what.contains(&*self.message))
    }

    /// That something could not be made is a finding, where no condition tells of it.
    pub fn finding(&self) -> Option<Finding> {
        (self.reason == "FailedCreate").then(|| {
            let next = mend(&self.message, &self.namespace);
            Finding::new(self.to_string(), next, false)
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(uid: &str, reason: &str, message: &str, count: i64, at: &str) -> Value {
        json!({"involvedObject": {"kind": "Job", "namespace": "n", "name": "j", "uid": uid}, "reason": reason, "message": message, "count": count,
            "lastTimestamp": at, "eventTime": null})
    }

    #[test]
    fn of_each_sort_the_last() {
        let events = [
            event(
                "1",
                "FailedCreate",
                "exceeded quota: b",
                2,
                "2026-01-01T00:00:02Z",
            ),
            event(
                "1",
                "FailedCreate",
                "exceeded quota: a",
                1,
                "2026-01-01T00:00:01Z",
            ),
            event("2", "FailedCreate", "of another", 1, "2026-01-01T00:00:03Z"),
            event("1", "Slow", "it takes time", 0, "2026-01-01T00:00:03Z"),
        ];
        let found = of(&events, &["1"]);
        let said: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "job/j: FailedCreate: exceeded quota: b (3 times)",
                "job/j: Slow: it takes time"
            ]
        );
        let finding = found[0].finding().unwrap();
        assert_eq!(finding.next, "skiff describe quota -n n");
        assert!(found[0].is_told(&finding));
        assert!(!found[1].is_told(&finding));
        assert_eq!(found[1].finding(), None);
        let other = Finding::new("job/jj: FailedCreate: x".into(), String::new(), false);
        assert!(!found[0].is_told(&Finding::new(
            other.what.replace("job/jj", "pod/j"),
            String::new(),
            false
        )));
    }
}
