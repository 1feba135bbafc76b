//! Objects that the server holds and that cannot be read as their kind: set aside, so that everything else goes on.
//!
//! Invariant: each object and reason is told once, in the log and by an event; an object that was readable before stays in the cache as it
//! was last read.

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, PoisonError},
};

use k8s_openapi::api::core::v1::ObjectReference;
use serde::Deserialize;

use crate::{
    events::{EventType, Events, Recorder},
    typed::DecodeError,
};

/// Past so many, what was told is forgotten and may be told again.
const REMEMBERED: usize = 4096;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Meta {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Meta,
}

/// What was told already; cheap to clone.
#[derive(Clone)]
pub struct Unreadable {
    recorder: Recorder,
    told: Arc<Mutex<HashSet<u64>>>,
}

impl Unreadable {
    /// Tells by `events`.
    pub fn new(events: &Events) -> Self {
        Self {
            recorder: events.recorder("object-reader"),
            told: Arc::default(),
        }
    }

    /// Tells of an object of this kind, unless that was done.
    pub fn set_aside(&self, api_version: &str, kind: &str, object: &str, error: &DecodeError) {
        let meta = serde_json::from_str::<Object>(object)
            .map(|object| object.metadata)
            .unwrap_or_default();
        let message = format!("Object is set aside, it cannot be read: {error}");
        let mut hasher = DefaultHasher::new();
        (kind, &meta.namespace, &meta.name, &meta.uid, &message).hash(&mut hasher);
        {
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            if told.len() >= REMEMBERED {
                told.clear();
            }
            if !told.insert(hasher.finish()) {
                return;
            }
        }
        tracing::warn!(api_version, kind, namespace = meta.namespace, name = meta.name, %error, "an object is set aside, it cannot be read");
        let about = ObjectReference {
            api_version: Some(api_version.into()),
            kind: Some(kind.into()),
            namespace: meta.namespace,
            name: meta.name,
            uid: meta.uid,
            ..Default::default()
        };
        self.recorder
            .about(about, EventType::Warning, "Unreadable", message);
    }
}
