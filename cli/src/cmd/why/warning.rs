//! Warnings about an object and about what belongs to it: of each sort the last one, and how often there was one.
//! Invariant: what a finding tells is not told again.
//! Behaviour follows nothing upstream: kubectl does not do this.

use std::{collections::BTreeMap, fmt};

use serde_json::Value;

use super::{
    finding::{Finding, mend},
    pod,
};
use crate::typed::Read;

/// Events of one reason about one object.
#[derive(Debug, PartialEq)]
pub struct Warning {
    uid: String,
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
pub fn last(event: &Value) -> &str {
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
            uid: about.text("uid").into(),
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
        // as the node's agent writes what a runtime says
        let message = self.message.strip_prefix("Error: ");
        let message = message.unwrap_or(&self.message);
        mine.is_some_and(|what| what.contains(&*self.reason) || what.contains(message))
    }

    /// Whether all is well with what it is about since then, or longer.
    pub fn is_mended(&self, mended: &BTreeMap<String, String>) -> bool {
        mended.get(&self.uid).is_some_and(|at| self.last <= *at)
    }

    /// That something could not be made is a finding, where no condition tells of it.
    pub fn finding(&self) -> Option<Finding> {
        (self.reason == "FailedCreate").then(|| {
            let next = mend(&self.message, &self.namespace);
            Finding::new(self.to_string(), next, false)
        })
    }
}

/// Since when all is well with pods, and with those whose pods these are all.
pub fn mended(owners: &[&Value], pods: &[&Value]) -> BTreeMap<String, String> {
    let uid = |object: &Value| object.at("metadata").text("uid").to_owned();
    let since: Vec<_> = pods.iter().map(|pod| pod::is_well_since(pod)).collect();
    let of_pods = pods.iter().zip(&since);
    let of_pods = of_pods.filter_map(|(pod, at)| Some((uid(pod), (*at)?.to_owned())));
    let mut mended: BTreeMap<_, _> = of_pods.collect();
    let all: Option<Vec<&str>> = since.iter().copied().collect();
    if let Some(last) = all.and_then(|all| all.into_iter().max()) {
        let have_all = |owner: &&&Value| {
            let wanted = owner.at("spec").int_ptr("replicas");
            wanted.is_none_or(|wanted| i64::try_from(pods.len()).is_ok_and(|has| has >= wanted))
        };
        let of_owners = owners.iter().filter(have_all);
        mended.extend(of_owners.map(|owner| (uid(owner), last.to_owned())));
    }
    mended
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
        let failed = of(&[event("1", "Failed", "Error: m", 1, "")], &["1"]);
        let by = |what: &str| failed[0].is_told(&Finding::new(what.into(), String::new(), false));
        assert!(by("job/j: container c: StartError: m") && !by("job/j: container c: n"));
        let other = Finding::new("job/jj: FailedCreate: x".into(), String::new(), false);
        assert!(!found[0].is_told(&Finding::new(
            other.what.replace("job/jj", "pod/j"),
            String::new(),
            false
        )));
    }
    #[test]
    fn what_is_older_than_what_mended_it() {
        let pod = |uid: &str, ready: &str, at: &str| json!({"metadata": {"uid": uid}, "status": {"conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": at}]}});
        let owner =
            |replicas: u8| json!({"metadata": {"uid": "o"}, "spec": {"replicas": replicas}});
        let (one, two) = (
            pod("1", "True", "2026-01-01T00:00:02Z"),
            pod("2", "True", "2026-01-01T00:00:04Z"),
        );
        let not = pod("3", "False", "2026-01-01T00:00:09Z");
        for (about, at, replicas, pods, wanted) in [
            ("1", "2026-01-01T00:00:01Z", 2, vec![&one, &two], true),
            ("1", "2026-01-01T00:00:03Z", 2, vec![&one, &two], false),
            ("o", "2026-01-01T00:00:03Z", 2, vec![&one, &two], true),
            ("o", "2026-01-01T00:00:05Z", 2, vec![&one, &two], false),
            // one is missing still
            ("o", "2026-01-01T00:00:03Z", 3, vec![&one, &two], false),
            ("o", "2026-01-01T00:00:01Z", 2, vec![&one, &not], false),
            ("3", "2026-01-01T00:00:01Z", 2, vec![&one, &not], false),
            ("o", "2026-01-01T00:00:01Z", 0, vec![], false),
        ] {
            let warnings = of(&[event(about, "R", "m", 1, at)], &[about]);
            let mended = mended(&[&owner(replicas)], &pods);
            assert_eq!(
                warnings[0].is_mended(&mended),
                wanted,
                "{about} {at} {replicas}"
            );
        }
    }
}
