//! What the scheduler tells of pods: events in events.k8s.io/v1, like ones as a series, and conditions of their status.
//!
//! Invariant: an event that is like an earlier one (same pod as it stood then, same reason, whatever its note) is counted on it. Follows
//! `k8s.io/client-go/tools/events/event_broadcaster.go` and `pkg/api/v1/pod/util.go` (UpdatePodCondition).

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::{Value, json};
use skiff_api::machinery::{clock::SharedClock, time};
use skiff_watching::{
    api::{Api, PatchType},
    sweep::Sweep,
};

use skiff_podspec::{conditions::status_patch, parts::HasStatus};

use crate::pod::PodInfo;

/// A series is over when nothing like it was told for so long.
const FINISHED: Duration = Duration::from_secs(360);
/// Counts past the second are written this seldom.
const REFRESH: Duration = Duration::from_secs(360);
/// Past so many, those that are over are forgotten.
const MOST: usize = 4096;
const LONGEST_NOTE: usize = 1024;

/// One thing to tell.
#[derive(Clone, Copy, Debug)]
pub struct Told<'a> {
    pub kind: &'a str,
    pub reason: &'a str,
    pub action: &'a str,
    pub note: &'a str,
    /// Another pod that it has to do with.
    pub related: Option<&'a PodInfo>,
    /// What stood in the pod when it was tried; else its version says how it stood.
    pub stood: Option<Standing>,
}

/// What the status of a pod that waits says of why, as a number: another one is another answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Standing(u64);

impl Standing {
    /// What an attempt wants to be written.
    pub fn new(reason: &str, message: &str, nominated: &str) -> Standing {
        Standing(hash(&(reason, message, nominated)))
    }

    /// What is written in the pod.
    pub fn of(pod: &PodInfo) -> Standing {
        let conditions = pod.pod.status().conditions.iter().flatten();
        let mut said = conditions.filter(|condition| condition.type_ == "PodScheduled");
        let said = said.next();
        let reason = said.and_then(|said| said.reason.as_deref());
        let message = said.and_then(|said| said.message.as_deref());
        let nominated = pod.nominated().unwrap_or("");
        Standing::new(reason.unwrap_or(""), message.unwrap_or(""), nominated)
    }
}

fn hash(of: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

impl<'a> Told<'a> {
    pub fn normal(reason: &'a str, action: &'a str, note: &'a str) -> Told<'a> {
        Told {
            kind: "Normal",
            reason,
            action,
            note,
            related: None,
            stood: None,
        }
    }

    pub fn warning(reason: &'a str, action: &'a str, note: &'a str) -> Told<'a> {
        let kind = "Warning";
        Told {
            kind,
            ..Told::normal(reason, action, note)
        }
    }
}

/// Bears no strings: those that outlive a burst of pods would each keep a page of the heap.
struct Series {
    /// When it was first told, which is in its name.
    first: Timestamp,
    count: i64,
    last: Timestamp,
    written: Timestamp,
}

/// What was told, by what tells one thing from another.
struct History {
    series: HashMap<u64, Series>,
    sweep: Sweep,
}

impl Default for History {
    fn default() -> Self {
        History {
            series: HashMap::new(),
            sweep: Sweep::new(MOST),
        }
    }
}

/// Tells; clones share what was told.
#[derive(Clone)]
pub struct Recorder {
    api: Api,
    clock: SharedClock,
    scheduler: String,
    told: Arc<Mutex<History>>,
}

/// What is to be done about an event.
#[derive(Debug, PartialEq, Eq)]
enum Write {
    Create { name: String },
    Count { name: String, count: i64 },
    Nothing,
}

fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(then)).unwrap_or_default()
}

fn event_name(pod: &str, first: Timestamp) -> String {
    format!("{pod}.{:x}", first.as_nanosecond())
}

fn decide(history: &mut History, key: &str, pod: &str, now: Timestamp) -> Write {
    let History { series, sweep } = history;
    let key = hash(&key);
    if sweep.is_due(series.len()) {
        series.retain(|_, entry| since(entry.last, now) < FINISHED);
        sweep.done(series.len());
    }
    if let Some(entry) = series
        .get_mut(&key)
        .filter(|entry| since(entry.last, now) < FINISHED)
    {
        (entry.count, entry.last) = (entry.count + 1, now);
        if entry.count > 2 && since(entry.written, now) < REFRESH {
            return Write::Nothing;
        }
        entry.written = now;
        return Write::Count {
            name: event_name(pod, entry.first),
            count: entry.count,
        };
    }
    series.insert(
        key,
        Series {
            first: now,
            count: 1,
            last: now,
            written: now,
        },
    );
    Write::Create {
        name: event_name(pod, now),
    }
}

/// At most 1024 bytes, with dots where something was cut off.
fn shortened(note: &str) -> String {
    if note.len() <= LONGEST_NOTE {
        return note.to_string();
    }
    let end = (0..=LONGEST_NOTE - 4)
        .rev()
        .find(|end| note.is_char_boundary(*end))
        .unwrap_or(0);
    format!("{} ...", &note[..end])
}

/// Which version of the pod is told of. Upstream has written the last answer before it tries a pod again, so its version is another after each
/// new answer; here the next attempt may come before the answer is written, so that what the pod says takes the version's place.
fn version(pod: &PodInfo, stood: Option<Standing>, regarding: &Value) -> String {
    let meta = &pod.pod.metadata;
    let Some(Standing(stood)) = stood else {
        return regarding.to_string();
    };
    let rest = (&meta.labels, &meta.annotations, &meta.finalizers);
    let rest = hash(&(rest, meta.generation));
    format!("{} {rest} {stood}", pod.uid)
}

fn reference(pod: &PodInfo) -> Value {
    json!({"kind": "Pod", "apiVersion": "v1", "namespace": pod.namespace, "name": pod.name, "uid": &*pod.uid,
        "resourceVersion": pod.pod.metadata.resource_version})
}

impl Recorder {
    pub fn new(api: Api, clock: SharedClock, scheduler: &str) -> Recorder {
        Recorder {
            api,
            clock,
            scheduler: scheduler.to_string(),
            told: Arc::default(),
        }
    }

    /// Tells of a pod; a failure is logged, since nothing hangs on it.
    pub async fn tell(&self, pod: &PodInfo, told: Told<'_>) {
        let now = self.clock.now();
        let regarding = reference(pod);
        let related = told.related.map(reference);
        let key = format!(
            "{} {} {} {} {related:?}",
            told.kind,
            told.action,
            told.reason,
            version(pod, told.stood, &regarding)
        );
        let write = decide(
            &mut self.told.lock().unwrap_or_else(PoisonError::into_inner),
            &key,
            &pod.name,
            now,
        );
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", pod.namespace);
        let done = match write {
            Write::Nothing => return,
            Write::Count { name, count } => {
                let patch =
                    json!({"series": {"count": count, "lastObservedTime": time::micros(now)}});
                self.api
                    .patch(&format!("{path}/{name}"), PatchType::Strategic, &patch)
                    .await
                    .map(drop)
            }
            Write::Create { name } => {
                let mut event = json!({
                    "apiVersion": "events.k8s.io/v1", "kind": "Event",
                    "metadata": {"name": name, "namespace": pod.namespace},
                    "eventTime": time::micros(now), "reportingController": self.scheduler, "reportingInstance": self.scheduler,
                    "action": told.action, "reason": told.reason, "type": told.kind, "note": shortened(told.note), "regarding": regarding,
                });
                if let Some(related) = related {
                    event["related"] = related;
                }
                self.api.post(&path, &event).await.map(drop)
            }
        };
        if let Err(error) = done {
            tracing::debug!(%error, pod = pod.name, "an event was not written");
        }
    }
}

/// A condition that a pod is to have.
#[derive(Clone, Copy, Debug)]
pub struct Condition<'a> {
    pub kind: &'a str,
    pub status: &'a str,
    pub reason: &'a str,
    pub message: &'a str,
}

/// The strategic patch that gives a pod a condition; `None` when it has it already.
pub fn condition(pod: &PodInfo, wanted: Condition, now: Timestamp) -> Option<Value> {
    let had = pod
        .pod
        .status()
        .conditions
        .as_ref()
        .into_iter()
        .flatten()
        .find(|c| c.type_ == wanted.kind);
    let text = |text: &Option<String>| text.as_deref().unwrap_or("").to_string();
    if had.is_some_and(|c| {
        c.status == wanted.status
            && text(&c.reason) == wanted.reason
            && text(&c.message) == wanted.message
    }) {
        return None;
    }
    let since = had
        .filter(|c| c.status == wanted.status)
        .and_then(|c| c.last_transition_time.as_ref());
    let since = since.map_or_else(|| time::seconds(now), |time| time::seconds(time.0));
    let condition = json!({"type": wanted.kind, "status": wanted.status, "reason": wanted.reason, "message": wanted.message,
        "lastProbeTime": null, "lastTransitionTime": since, "observedGeneration": pod.pod.metadata.generation});
    Some(json!({"status": status_patch(pod.pod.status.as_deref(), condition)}))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::tests::pod;

    #[test]
    fn like_events_are_a_series() {
        let (mut history, begun) = (History::default(), Timestamp::from_second(1_000).unwrap());
        let mut at = |key: &str, seconds: i64| {
            decide(
                &mut history,
                key,
                "p",
                Timestamp::from_second(1_000 + seconds).unwrap(),
            )
        };
        let name = format!("p.{:x}", begun.as_nanosecond());
        assert_eq!(at("a", 0), Write::Create { name: name.clone() });
        assert_eq!(
            at("a", 1),
            Write::Count {
                name: name.clone(),
                count: 2
            }
        );
        assert_eq!(at("a", 2), Write::Nothing);
        assert!(matches!(at("b", 2), Write::Create { .. }));
        assert_eq!(at("a", 361), Write::Count { name, count: 4 });
        assert!(
            matches!(at("a", 800), Write::Create { .. }),
            "after a while it begins anew"
        );
    }

    #[test]
    fn what_the_pod_said_takes_the_place_of_its_version() {
        let says = |message: &str, version: &str| {
            let condition = json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message});
            let metadata = json!({"resourceVersion": version});
            pod(
                "p",
                json!({"metadata": metadata, "status": {"conditions": [condition]}}),
            )
        };
        let key = |pod: &PodInfo, stood: Standing| version(pod, Some(stood), &reference(pod));
        let (bare, first, second) = (pod("p", json!({})), says("a", "7"), says("b", "8"));
        let wanted = Standing::new("Unschedulable", "a", "");
        assert_eq!(
            key(&bare, wanted),
            key(&first, Standing::of(&first)),
            "whether it is written already is all one"
        );
        let others = [
            key(&bare, Standing::of(&bare)),
            key(&second, Standing::of(&second)),
            key(&bare, Standing::new("Unschedulable", "a", "node")),
        ];
        assert!(!others.contains(&key(&bare, wanted)), "{others:?}");
        let labels = json!({"metadata": {"labels": {"a": "b"}}});
        assert_ne!(key(&pod("p", labels), wanted), key(&bare, wanted));
    }

    #[test]
    fn long_notes_are_cut() {
        assert_eq!(shortened("short"), "short");
        let cut = shortened(&"ä".repeat(600));
        assert!(cut.len() <= 1024 && cut.ends_with("ä ..."));
    }

    #[test]
    fn conditions_keep_their_time_while_their_status_stays() {
        let now = Timestamp::from_second(1_000).unwrap();
        let has = json!({"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "old",
            "lastTransitionTime": "1970-01-01T00:00:01Z"}]}});
        let wanted = |message| Condition {
            kind: "PodScheduled",
            status: "False",
            reason: "Unschedulable",
            message,
        };
        let time = |pod: Arc<PodInfo>, message| {
            condition(&pod, wanted(message), now)
                .map(|patch| patch["status"]["conditions"][0]["lastTransitionTime"].clone())
        };
        assert_eq!(time(pod("p", has.clone()), "old"), None);
        assert_eq!(
            time(pod("p", has), "new"),
            Some(json!("1970-01-01T00:00:01Z"))
        );
        assert_eq!(
            time(pod("p", json!({})), "new"),
            Some(json!("1970-01-01T00:16:40Z"))
        );
    }
}
