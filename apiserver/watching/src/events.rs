//! Events: what controllers tell people about what they did.
//!
//! Invariant: recording never waits and never fails its caller; like events are counted, unlike ones of one reason are combined from the
//! tenth on, and an object's flood is cut off (25 at once, then one in five minutes), as client-go does it.
//! Follows k8s.io/client-go/tools/record (event.go, events_cache.go).

use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    time::Duration,
};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{Event, EventSource, ObjectReference},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{Api, Kind, PatchType, item},
    clock::{Clock, since},
    error::Error,
};

const QUEUE: usize = 1000;
const REMEMBERED: usize = 4096;
const COMBINE_FROM: usize = 10;
const COMBINE_WITHIN: Duration = Duration::from_secs(600);
const BURST: f64 = 25.0;
const TOKENS_PER_SECOND: f64 = 1.0 / 300.0;

/// Whether an event is all right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// As it should be.
    Normal,
    /// Someone should look at this.
    Warning,
}

impl EventType {
    fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "Normal",
            Self::Warning => "Warning",
        }
    }
}

/// Hands out recorders; owns the task that writes.
#[derive(Clone)]
pub struct Events {
    sender: mpsc::Sender<Event>,
    clock: Clock,
}

/// Records events as one component.
#[derive(Clone)]
pub struct Recorder {
    component: &'static str,
    host: Option<String>,
    events: Events,
}

impl Events {
    /// Starts the writer, which ends at `stop`.
    pub fn start(api: Api, clock: Clock, stop: CancellationToken) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        crate::task::spawn(write(api, clock.clone(), receiver, stop));
        Self { sender, clock }
    }

    /// A recorder for the reporting component `component`.
    pub fn recorder(&self, component: &'static str) -> Recorder {
        Recorder {
            component,
            host: None,
            events: self.clone(),
        }
    }
}

impl Recorder {
    /// The same component, as it runs on the node `host`.
    pub fn on(self, host: &str) -> Self {
        Self {
            host: Some(host.into()),
            ..self
        }
    }

    /// Says something about `object`.
    pub fn event<K: Kind>(
        &self,
        object: &K,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let meta = object.meta();
        let about = ObjectReference {
            api_version: Some(K::api_version().into()),
            kind: Some(K::kind().into()),
            namespace: meta.namespace.clone(),
            name: meta.name.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            field_path: None,
        };
        self.about(about, kind, reason, message);
    }

    /// All went well.
    pub fn normal<K: Kind>(&self, object: &K, reason: &str, message: impl Into<String>) {
        self.event(object, EventType::Normal, reason, message);
    }

    /// Something is wrong.
    pub fn warning<K: Kind>(&self, object: &K, reason: &str, message: impl Into<String>) {
        self.event(object, EventType::Warning, reason, message);
    }

    /// Says something about what `about` points at. Dropped, with a log line, when a thousand events wait to be written.
    pub fn about(
        &self,
        about: ObjectReference,
        kind: EventType,
        reason: &str,
        message: impl Into<String>,
    ) {
        let now = self.events.clock.now();
        let namespace = about
            .namespace
            .clone()
            .filter(|ns| !ns.is_empty())
            .unwrap_or_else(|| "default".into());
        let event = Event {
            metadata: ObjectMeta {
                name: Some(event_name(&about, now)),
                namespace: Some(namespace),
                ..Default::default()
            },
            involved_object: about,
            reason: Some(reason.into()),
            message: Some(message.into()),
            type_: Some(kind.as_str().into()),
            first_timestamp: Some(Time(now)),
            last_timestamp: Some(Time(now)),
            count: Some(1),
            source: Some(EventSource {
                component: Some(self.component.into()),
                host: self.host.clone(),
            }),
            reporting_component: Some(self.component.into()),
            reporting_instance: self.host.clone(),
            ..Default::default()
        };
        if self.events.sender.try_send(event).is_err() {
            tracing::warn!(
                component = self.component,
                reason,
                "too many queued events, dropped one"
            );
        }
    }
}

fn event_name(about: &ObjectReference, now: Timestamp) -> String {
    format!(
        "{}.{:x}",
        about.name.as_deref().unwrap_or(""),
        now.as_nanosecond()
    )
}

async fn write(
    api: Api,
    clock: Clock,
    mut receiver: mpsc::Receiver<Event>,
    stop: CancellationToken,
) {
    let mut correlator = Correlator::default();
    loop {
        let event = tokio::select! {
            () = stop.cancelled() => return,
            event = receiver.recv() => event,
        };
        let Some(event) = event else { return };
        let Some((event, again)) = correlator.correlate(event, clock.now()) else {
            continue;
        };
        if let Err(error) = send(&api, event, again, &clock).await {
            tracing::debug!(%error, "cannot write event");
        }
    }
}

async fn send(api: &Api, mut event: Event, again: bool, clock: &Clock) -> Result<(), Error> {
    if again {
        let path = item::<Event>(
            event.metadata.namespace.as_deref().unwrap_or(""),
            event.metadata.name.as_deref().unwrap_or(""),
        );
        let patch = json!({"count": event.count, "lastTimestamp": event.last_timestamp, "message": event.message});
        match api.patch(&path, PatchType::Strategic, &patch).await {
            Err(e) if e.is_not_found() => {
                event.metadata.name = Some(event_name(&event.involved_object, clock.now()))
            }
            other => return other.map(drop),
        }
    }
    match api.create_quietly(&event).await {
        Err(e) if e.is_already_exists() => Ok(()),
        other => other.map(drop),
    }
}

/// What is remembered lies in the maps themselves: strings that outlive a burst would each keep a page of the heap.
struct Similar {
    /// Hashes of different messages: the first `known`.
    messages: [u64; COMBINE_FROM - 1],
    known: usize,
    last: Timestamp,
}

impl Similar {
    /// Takes a message in; answers how many different ones there are with it. The tenth is not remembered.
    fn see(&mut self, message: u64) -> usize {
        if self.messages[..self.known].contains(&message) {
            return self.known;
        }
        if let Some(place) = self.messages.get_mut(self.known) {
            *place = message;
            self.known += 1;
            return self.known;
        }
        COMBINE_FROM
    }
}

struct Counted {
    count: i32,
    /// Of the first of them, which is in its name.
    first: Timestamp,
}

struct Bucket {
    tokens: f64,
    filled: Timestamp,
}

/// Decides what becomes of an event: written, counted on an earlier one, combined, or dropped.
#[derive(Default)]
struct Correlator {
    similar: Recent<Similar>,
    counted: Recent<Counted>,
    buckets: Recent<Bucket>,
}

impl Correlator {
    /// The event to write, and whether it is a count on one that was written before; `None` to drop it.
    fn correlate(&mut self, event: Event, now: Timestamp) -> Option<(Event, bool)> {
        let object = hash_of(&(
            &event.source.as_ref().map(|s| &s.component),
            &parts(&event.involved_object),
            &event.type_,
        ));
        let (event, key) = self.combine(event, object, now);
        let (event, again) = self.count(event, key);
        self.admit(object, now).then_some((event, again))
    }

    fn combine(&mut self, mut event: Event, object: u64, now: Timestamp) -> (Event, u64) {
        let local = hash_of(&event.message);
        let group = hash_of(&(object, &event.reason));
        let similar = self.similar.entry(group, || Similar {
            messages: [0; COMBINE_FROM - 1],
            known: 0,
            last: now,
        });
        if since(now, similar.last) > COMBINE_WITHIN {
            similar.known = 0;
        }
        similar.last = now;
        if similar.see(local) < COMBINE_FROM {
            // What containers of one pod have in common but their place is not the same.
            let key = hash_of(&(group, local, &event.involved_object.field_path));
            return (event, key);
        }
        event.message = event
            .message
            .map(|m| format!("(combined from similar events): {m}"));
        (event, group)
    }

    fn count(&mut self, mut event: Event, key: u64) -> (Event, bool) {
        let first = event
            .first_timestamp
            .as_ref()
            .map_or(Timestamp::UNIX_EPOCH, |first| first.0);
        let seen = self.counted.entry(key, || Counted { count: 0, first });
        let again = seen.count > 0;
        seen.count += 1;
        if again {
            event.metadata.name = Some(event_name(&event.involved_object, seen.first));
            event.first_timestamp = Some(Time(seen.first));
            event.count = Some(seen.count);
        }
        (event, again)
    }

    fn admit(&mut self, object: u64, now: Timestamp) -> bool {
        let bucket = self.buckets.entry(object, || Bucket {
            tokens: BURST,
            filled: now,
        });
        bucket.tokens = (bucket.tokens
            + since(now, bucket.filled).as_secs_f64() * TOKENS_PER_SECOND)
            .min(BURST);
        bucket.filled = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }
}

fn parts(about: &ObjectReference) -> [&Option<String>; 5] {
    [
        &about.kind,
        &about.namespace,
        &about.name,
        &about.uid,
        &about.api_version,
    ]
}

fn hash_of(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// A map that forgets what was not used for long when it grows past [`REMEMBERED`] entries.
struct Recent<V> {
    entries: HashMap<u64, (u64, V)>,
    tick: u64,
}

impl<V> Default for Recent<V> {
    fn default() -> Self {
        Self {
            entries: HashMap::new(),
            tick: 0,
        }
    }
}

impl<V> Recent<V> {
    fn entry(&mut self, key: u64, make: impl FnOnce() -> V) -> &mut V {
        self.tick += 1;
        if self.entries.len() >= REMEMBERED && !self.entries.contains_key(&key) {
            let oldest = self.tick.saturating_sub(REMEMBERED as u64 * 3 / 4);
            self.entries.retain(|_, (used, _)| *used >= oldest);
        }
        let slot = self.entries.entry(key).or_insert_with(|| (0, make()));
        slot.0 = self.tick;
        &mut slot.1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(name: &str, message: &str) -> Event {
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{message}")),
                ..Default::default()
            },
            involved_object: ObjectReference {
                name: Some(name.into()),
                ..Default::default()
            },
            reason: Some("R".into()),
            message: Some(message.into()),
            count: Some(1),
            ..Default::default()
        }
    }

    #[test]
    fn the_same_message_is_counted() {
        let (mut correlator, now) = (Correlator::default(), Clock::system().now());
        let (_, again) = correlator.correlate(event("o", "m"), now).unwrap();
        assert!(!again);
        let (second, again) = correlator.correlate(event("o", "m"), now).unwrap();
        assert_eq!((second.count, again), (Some(2), true));
    }

    #[test]
    fn the_tenth_message_of_a_reason_is_combined_and_later_ones_counted_on_it() {
        let (mut correlator, now) = (Correlator::default(), Clock::system().now());
        for i in 0..9 {
            let (written, again) = correlator
                .correlate(event("o", &format!("m{i}")), now)
                .unwrap();
            assert_eq!((written.message.unwrap(), again), (format!("m{i}"), false));
        }
        let (written, again) = correlator.correlate(event("o", "m9"), now).unwrap();
        assert_eq!(
            (written.message.unwrap().as_str(), again),
            ("(combined from similar events): m9", false)
        );
        let (written, again) = correlator.correlate(event("o", "m10"), now).unwrap();
        assert_eq!(
            (written.message.unwrap().as_str(), written.count, again),
            ("(combined from similar events): m10", Some(2), true)
        );
        let (written, again) = correlator.correlate(event("o", "m3"), now).unwrap();
        assert_eq!(
            (written.message.unwrap().as_str(), written.count, again),
            ("m3", Some(2), true),
            "an early one still stands for itself"
        );
    }

    #[test]
    fn the_same_message_about_two_containers_is_two_events() {
        let (mut correlator, now) = (Correlator::default(), Clock::system().now());
        let mut of = |container: &str| {
            let mut event = event("pod", "Container started");
            event.involved_object.field_path = Some(format!("spec.containers{{{container}}}"));
            correlator.correlate(event, now).unwrap()
        };
        assert!(!of("a").1 && !of("b").1);
        let (again, counted) = of("b");
        assert_eq!(
            (
                again.count,
                again.involved_object.field_path.as_deref(),
                counted
            ),
            (Some(2), Some("spec.containers{b}"), true)
        );
    }

    #[test]
    fn a_flood_about_one_object_is_cut_off() {
        let (mut correlator, now) = (Correlator::default(), Clock::system().now());
        let passed = (0..100)
            .filter(|i| {
                correlator
                    .correlate(event("o", &format!("m{i}")), now)
                    .is_some()
            })
            .count();
        assert_eq!(passed, 25);
        assert!(correlator.correlate(event("other", "m"), now).is_some());
        assert!(
            correlator
                .correlate(
                    event("o", "later"),
                    crate::clock::after(now, Duration::from_secs(301))
                )
                .is_some()
        );
    }
}
