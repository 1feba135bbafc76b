//! Events of the node: written by one task, with repetitions counted instead of repeated.
//!
//! Invariant: recording never blocks and never fails its caller; what cannot be written is logged and dropped.
//! Follows `staging/src/k8s.io/client-go/tools/record/{event,events_cache}.go`.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::time;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    Normal,
    Warning,
}

impl Type {
    fn word(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

#[derive(Debug)]
struct Occurrence {
    object: ObjectReference,
    type_: Type,
    reason: String,
    message: String,
    at: Timestamp,
}

/// Where events are given in; cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    queue: mpsc::UnboundedSender<Occurrence>,
}

impl Recorder {
    /// Starts the task that writes, as component `kubelet` on `node`.
    pub fn start(client: Client, node: String, stop: CancellationToken) -> Self {
        let (queue, occurrences) = mpsc::unbounded_channel();
        tokio::spawn(write_all(client, node, occurrences, stop));
        Self { queue }
    }

    /// Records that something happened to `object`.
    pub fn record(&self, object: ObjectReference, type_: Type, reason: &str, message: impl Into<String>) {
        let occurrence = Occurrence { object, type_, reason: reason.to_owned(), message: message.into(), at: time::now() };
        if self.queue.send(occurrence).is_err() {
            tracing::debug!(reason, "event dropped: the node agent stops");
        }
    }
}

async fn write_all(client: Client, node: String, mut occurrences: mpsc::UnboundedReceiver<Occurrence>, stop: CancellationToken) {
    let mut correlator = Correlator::new(node);
    loop {
        let occurrence = tokio::select! {
            next = occurrences.recv() => next,
            () = stop.cancelled() => break,
        };
        let Some(occurrence) = occurrence else { break };
        let Some(write) = correlator.take(occurrence) else { continue };
        match send(&client, &write).await {
            Ok(name) => correlator.written(&write, name),
            Err(error) => tracing::debug!(%error, "event not written"),
        }
    }
}

/// Creates or updates; answers the name that the event has now.
async fn send(client: &Client, write: &Write) -> Result<String, kube::Error> {
    let namespace = write.event.metadata.namespace.clone().unwrap_or_else(|| "default".to_owned());
    let api: Api<Event> = Api::namespaced(client.clone(), &namespace);
    if let Some(name) = &write.existing {
        let patch = serde_json::json!({"count": write.event.count, "lastTimestamp": write.event.last_timestamp, "message": write.event.message});
        match api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(name.clone()),
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            Err(error) => return Err(error),
        }
    }
    let created = api.create(&PostParams::default(), &write.event).await?;
    Ok(created.metadata.name.unwrap_or_default())
}

/// What one occurrence comes to.
#[derive(Debug)]
struct Write {
    event: Event,
    key: String,
    /// The event that says the same already.
    existing: Option<String>,
}

/// At most so many different messages about one reason in ten minutes; the rest is combined.
const MAX_SIMILAR: usize = 10;
const SIMILAR_SECONDS: i64 = 600;
/// Events about one object: so many at once, then one in five minutes.
const BURST: f64 = 25.0;
const REFILL_PER_SECOND: f64 = 1.0 / 300.0;
const REMEMBERED: usize = 4096;

struct Similar {
    messages: HashSet<String>,
    last: Timestamp,
}

struct Seen {
    name: String,
    count: i32,
    first: Time,
}

struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

/// Decides what is written; owned by the writing task.
struct Correlator {
    node: String,
    similar: Remembered<Similar>,
    seen: Remembered<Seen>,
    buckets: Remembered<Bucket>,
}

impl Correlator {
    fn new(node: String) -> Self {
        Self { node, similar: Remembered::default(), seen: Remembered::default(), buckets: Remembered::default() }
    }

    fn take(&mut self, occurrence: Occurrence) -> Option<Write> {
        let Occurrence { object, type_, reason, message, at } = occurrence;
        let object_key = format!("{:?}/{:?}/{:?}/{:?}", object.kind, object.namespace, object.name, object.uid);
        if !self.allowed(&format!("{object_key}/{}", type_.word()), at) {
            return None;
        }
        let group = format!("{object_key}/{:?}/{}/{reason}", object.field_path, type_.word());
        let (message, key) = self.combine(&group, message, at);
        let now = Time(time::whole_seconds(at));
        let seen = self.seen.get(&key);
        let (existing, count, first) = match seen {
            Some(seen) => (Some(seen.name.clone()), seen.count + 1, seen.first.clone()),
            None => (None, 1, now.clone()),
        };
        let namespace = object.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let name = format!("{}.{:x}", object.name.as_deref().unwrap_or_default(), at.as_nanosecond());
        let event = Event {
            metadata: ObjectMeta { name: Some(name), namespace: Some(namespace), ..Default::default() },
            involved_object: object,
            reason: Some(reason),
            message: Some(message),
            type_: Some(type_.word().to_owned()),
            source: Some(EventSource { component: Some("kubelet".to_owned()), host: Some(self.node.clone()) }),
            reporting_component: Some("kubelet".to_owned()),
            reporting_instance: Some(self.node.clone()),
            first_timestamp: Some(first),
            last_timestamp: Some(now),
            count: Some(count),
            ..Default::default()
        };
        Some(Write { event, key, existing })
    }

    fn written(&mut self, write: &Write, name: String) {
        if let Some(first) = write.event.first_timestamp.clone() {
            self.seen.put(write.key.clone(), Seen { name, count: write.event.count.unwrap_or(1), first });
        }
    }

    /// The message to write, and the key under which equal ones are counted.
    fn combine(&mut self, group: &str, message: String, at: Timestamp) -> (String, String) {
        let expired = self.similar.get(group).is_none_or(|similar| at.as_second() - similar.last.as_second() > SIMILAR_SECONDS);
        if expired {
            self.similar.put(group.to_owned(), Similar { messages: HashSet::new(), last: at });
        }
        let Some(similar) = self.similar.get_mut(group) else { return (message.clone(), format!("{group}/{message}")) };
        similar.last = at;
        if similar.messages.len() < MAX_SIMILAR {
            similar.messages.insert(message.clone());
        }
        if similar.messages.len() < MAX_SIMILAR {
            let key = format!("{group}/{message}");
            return (message, key);
        }
        (format!("(combined from similar events): {message}"), group.to_owned())
    }

    fn allowed(&mut self, key: &str, at: Timestamp) -> bool {
        if self.buckets.get(key).is_none() {
            self.buckets.put(key.to_owned(), Bucket { tokens: BURST, filled: at });
        }
        let Some(bucket) = self.buckets.get_mut(key) else { return true };
        let passed = (at.as_millisecond() - bucket.filled.as_millisecond()).max(0) as f64 / 1000.0;
        bucket.tokens = (bucket.tokens + passed * REFILL_PER_SECOND).min(BURST);
        bucket.filled = at;
        if bucket.tokens < 1.0 {
            return false;
        }
        bucket.tokens -= 1.0;
        true
    }
}

/// A map that forgets its oldest entries when it grows too large.
struct Remembered<T> {
    entries: HashMap<String, T>,
    order: VecDeque<String>,
}

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new() }
    }
}

impl<T> Remembered<T> {
    fn get(&self, key: &str) -> Option<&T> {
        self.entries.get(key)
    }

    fn get_mut(&mut self, key: &str) -> Option<&mut T> {
        self.entries.get_mut(key)
    }

    fn put(&mut self, key: String, value: T) {
        if self.entries.insert(key.clone(), value).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occurrence(message: &str, second: i64) -> Occurrence {
        Occurrence {
            object: ObjectReference { kind: Some("Pod".into()), name: Some("p".into()), namespace: Some("n".into()), ..Default::default() },
            type_: Type::Warning,
            reason: "Unhealthy".into(),
            message: message.into(),
            at: Timestamp::from_second(1_700_000_000 + second).unwrap(),
        }
    }

    fn take(correlator: &mut Correlator, message: &str, second: i64) -> Option<(String, i32)> {
        let write = correlator.take(occurrence(message, second))?;
        correlator.written(&write, "p.1".into());
        Some((write.event.message.clone().unwrap(), write.event.count.unwrap()))
    }

    #[test]
    fn equal_events_are_counted() {
        let mut correlator = Correlator::new("node".into());
        for count in 1..=3 {
            assert_eq!(take(&mut correlator, "no", i64::from(count)), Some(("no".into(), count)));
        }
    }

    #[test]
    fn many_similar_ones_are_combined() {
        let mut correlator = Correlator::new("node".into());
        for i in 0..9 {
            assert_eq!(take(&mut correlator, &format!("m{i}"), i).unwrap().1, 1);
        }
        assert_eq!(take(&mut correlator, "m9", 9), Some(("(combined from similar events): m9".into(), 1)));
        assert_eq!(take(&mut correlator, "m10", 10), Some(("(combined from similar events): m10".into(), 2)));
        assert_eq!(take(&mut correlator, "m11", 700), Some(("m11".into(), 1)));
    }

    #[test]
    fn floods_are_cut() {
        let mut correlator = Correlator::new("node".into());
        let passed = (0..100).filter(|_| take(&mut correlator, "no", 0).is_some()).count();
        assert_eq!(passed, 25);
        assert!(take(&mut correlator, "no", 300).is_some());
    }
}
