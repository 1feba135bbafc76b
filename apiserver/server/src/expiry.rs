//! Objects that go a while after they were written last: those of kinds whose row says `expires` (events).
//!
//! Invariant: each object stands in the queue once, at the earliest moment at which it may be due, so that only what comes up is looked at; when it was
//! written last is what its own metadata says, which a restart does not change. One that was written meanwhile lives on; what goes is seen by watchers.
//! Follows the TTL of `pkg/registry/core/event/storage/storage.go` and the leases of `staging/src/k8s.io/apiserver/pkg/storage/etcd3/lease_manager.go`.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::Deserialize;
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::{status::Status, time},
};
use skiff_storage::{Error, Event, EventKind, Expect, Key, Object, Watch, Write};
use skiff_watching::clock::after;
use tokio_util::sync::CancellationToken;

use crate::{core::Core, stored};

/// Removals that wait for the disk at once.
const AT_ONCE: usize = 64;
/// When what could not be removed is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// The kinds whose objects go by themselves.
pub fn kinds() -> impl Iterator<Item = &'static Arc<Kind>> {
    let all = Registry::builtin().all().iter();
    all.filter(|kind| kind.flags.expires && kind.stored_as.is_none())
}

/// An object, and when it is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Due {
    at: Timestamp,
    key: Key,
    uid: Box<str>,
}

/// Objects in the order in which they are to be looked at.
#[derive(Default)]
struct Queue(VecDeque<Due>);

impl Queue {
    /// Behind all that is not due later: nearly always that is the end.
    fn put(&mut self, due: Due) {
        let place = self.0.partition_point(|other| other.at <= due.at);
        self.0.insert(place, due);
    }

    fn next(&self) -> Option<Timestamp> {
        Some(self.0.front()?.at)
    }

    /// Takes out what has come up.
    fn up_to(&mut self, now: Timestamp) -> Vec<Due> {
        let count = self.0.partition_point(|due| due.at <= now);
        self.0.drain(..count).collect()
    }
}

/// Of an object what tells when it was written.
#[derive(Deserialize)]
struct Written {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    creation_timestamp: Option<Box<str>>,
    #[serde(default)]
    managed_fields: Vec<Managed>,
}

#[derive(Deserialize)]
struct Managed {
    time: Option<Box<str>>,
}

/// When the object was written last, in whole seconds; nobody has written it after `now`.
fn written(object: &Object, now: Timestamp) -> Timestamp {
    if object.sealed().is_some() {
        return now;
    }
    let read = match serde_json::from_slice::<Written>(&object.bytes.read()) {
        Ok(Written { metadata }) => metadata,
        Err(error) => {
            tracing::error!(key = ?object.key, %error, "when it was written cannot be read: it is kept for now");
            return now;
        }
    };
    let by_managers = read.managed_fields.into_iter().map(|by| by.time);
    let times = by_managers.chain([read.creation_timestamp]).flatten();
    let last = times.filter_map(|text| time::parse(&text).ok()).max();
    last.map_or(now, |last| last.min(now))
}

/// Why an object is still there.
#[derive(thiserror::Error, Debug)]
enum Failed {
    #[error(transparent)]
    Store(#[from] Error),
    #[error("its last state cannot be told: {0}")]
    Unreadable(String),
}

/// The objects of a kind, and how long they are kept.
struct Expiry {
    core: Arc<Core>,
    kind: &'static Arc<Kind>,
    ttl: Duration,
}

/// Removes the objects of `kind` when `ttl` has gone by since they were written last, until `stopping`.
pub async fn run(
    core: Arc<Core>,
    kind: &'static Arc<Kind>,
    ttl: Duration,
    stopping: CancellationToken,
) {
    let expiry = Expiry { core, kind, ttl };
    tokio::select! {
        () = expiry.go_on() => {}
        () = stopping.cancelled() => {}
    }
}

impl Expiry {
    /// Until the store is closed.
    async fn go_on(&self) {
        let resource = stored::resource_of(self.kind);
        loop {
            let snapshot = self.core.store.snapshot(&resource);
            let mut queue = self.queue(snapshot.range(None, None));
            // what came meanwhile is more than is kept: all is read again
            let Ok(watch) = self.core.store.watch(&resource, snapshot.revision()) else {
                tokio::task::yield_now().await;
                continue;
            };
            if let Error::Closed = self.follow(watch, &mut queue).await {
                return;
            }
        }
    }

    /// All that there is, in order.
    fn queue(&self, objects: impl Iterator<Item = Arc<Object>>) -> Queue {
        let now = self.core.now();
        let mut all: Vec<Due> = objects.map(|object| self.due(&object, now)).collect();
        all.sort_by_key(|due| due.at);
        Queue(all.into())
    }

    /// Goes on as long as nothing is missed.
    async fn follow(&self, mut watch: Watch, queue: &mut Queue) -> Error {
        loop {
            let next = queue.next();
            let due = async {
                match next {
                    Some(at) => self.core.clock.sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                batch = watch.next_batch() => match batch {
                    Ok(events) => self.note(&events, queue),
                    Err(error) => return error,
                },
                () = due => self.clear(queue).await,
            }
        }
    }

    /// New objects; what is written again is found out about when it comes up.
    fn note(&self, events: &[Arc<Event>], queue: &mut Queue) {
        let now = self.core.now();
        let added = events.iter().filter(|event| event.kind == EventKind::Added);
        added.for_each(|event| queue.put(self.due(&event.object, now)));
    }

    /// When an object is due as it is now. Times are told in whole seconds: it may have been written nearly one later.
    fn due(&self, object: &Object, now: Timestamp) -> Due {
        Due {
            at: after(written(object, now), self.ttl + Duration::from_secs(1)),
            key: object.key.clone(),
            uid: object.attributes().uid().into(),
        }
    }

    /// Removes what is due, and puts back what was written meanwhile.
    async fn clear(&self, queue: &mut Queue) {
        let now = self.core.now();
        let due = stream::iter(queue.up_to(now));
        let kept = due.map(|due| self.look_at(due, now));
        let kept: Vec<Option<Due>> = kept.buffer_unordered(AT_ONCE).collect().await;
        kept.into_iter().flatten().for_each(|due| queue.put(due));
    }

    /// Removes one object, or says when it is to be looked at again.
    async fn look_at(&self, due: Due, now: Timestamp) -> Option<Due> {
        let object = self.core.store.get(&due.key)?;
        // another one of that name has its own place
        if object.attributes().uid() != &*due.uid {
            return None;
        }
        let due = self.due(&object, now);
        if due.at > now {
            return Some(due);
        }
        match self.remove(&object).await {
            Ok(()) | Err(Failed::Store(Error::NotFound)) => None,
            // written this moment
            Err(Failed::Store(Error::Conflict(object))) => Some(self.due(&object, now)),
            Err(error) => {
                tracing::warn!(key = ?due.key, "it is due to go, and stays: {error}");
                let at = after(now, AGAIN);
                Some(Due { at, ..due })
            }
        }
    }

    /// Whatever holds an object that somebody deletes does not hold it here.
    async fn remove(&self, object: &Object) -> Result<(), Failed> {
        let said = |status: Status| Failed::Unreadable(status.message);
        let last = match object.sealed() {
            Some(_) => None,
            None => {
                let value = stored::value(object).map_err(said)?;
                let draft = stored::draft(&self.core.kinds.load(), self.kind, &value);
                Some(draft.map_err(said)?)
            }
        };
        let write = Write {
            key: object.key.clone(),
            expect: Expect::Revision(object.revision),
            draft: None,
            last,
        };
        self.core.commit(write).await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use skiff_storage::Attributes;

    use super::*;

    fn key(name: &str) -> Key {
        Key {
            resource: "events.events.k8s.io".into(),
            namespace: "default".into(),
            name: name.into(),
        }
    }

    #[test]
    fn what_is_due_first_stands_first() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let mut queue = Queue::default();
        for (name, second) in [("a", 3), ("b", 1), ("c", 3), ("d", 2)] {
            queue.put(Due {
                at: at(second),
                key: key(name),
                uid: "".into(),
            });
        }
        assert_eq!(queue.next(), Some(at(1)));
        let names = |due: Vec<Due>| -> Vec<String> {
            due.iter().map(|due| due.key.name.to_string()).collect()
        };
        assert_eq!(names(queue.up_to(at(0))), [""; 0]);
        assert_eq!(names(queue.up_to(at(2))), ["b", "d"]);
        assert_eq!(names(queue.up_to(at(9))), ["a", "c"]);
        assert_eq!(queue.next(), None);
    }

    #[test]
    fn an_object_says_when_it_was_written() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (metadata, wanted) in [
            (
                r#"{"creationTimestamp":"2026-11-23T10:00:00Z"}"#,
                "2026-11-23T10:00:00Z",
            ),
            (
                r#"{"creationTimestamp":"2026-11-23T10:00:00Z","managedFields":[{"time":"2026-11-23T11:00:00Z"},{"time":"2026-11-23T10:30:00Z"},{}]}"#,
                "2026-11-23T11:00:00Z",
            ),
            // nobody writes in time to come
            (
                r#"{"creationTimestamp":"2026-11-23T10:00:00Z","managedFields":[{"time":"2027-01-01T00:00:00Z"}]}"#,
                "2026-11-23T12:00:00Z",
            ),
            // what does not tell begins now
            ("{}", "2026-11-23T12:00:00Z"),
            ("[]", "2026-11-23T12:00:00Z"),
        ] {
            let bytes = format!(r#"{{"metadata":{metadata}}}"#);
            let object = Object::new(key("a"), 1, bytes.into(), Attributes::default());
            let wanted: Timestamp = wanted.parse().unwrap();
            assert_eq!(written(&object, now), wanted, "{metadata}");
        }
    }

    #[test]
    fn events_expire() {
        let names: Vec<&str> = kinds().map(|kind| kind.kind).collect();
        assert_eq!(names, ["Event"]);
    }
}
