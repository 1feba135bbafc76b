//! What is gathered of one request until all of it is told.
//!
//! Invariant: an annotation that was set stays as it was set; what a level does not ask for is not even made.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::Value;
use skiff_api::machinery::{
    meta::Meta,
    schema::{Node, to_json},
    yaml,
};

use super::{
    Audit,
    copy::compact,
    event::{Answered, Event, Level, ObjectRef, Stage},
    output::Taken,
    policy::Verdict,
};
use crate::auth::{Attributes, User};

/// A request, as far as its head tells.
pub struct Request<'r> {
    pub audit_id: &'r str,
    pub uri: &'r str,
    pub user_agent: &'r str,
    pub source_ips: Vec<String>,
    pub received: Timestamp,
    /// Who asks for what.
    pub asked: &'r Attributes,
    /// False: who asks could not be found out.
    pub known: bool,
}

/// One request's; nothing is told of it where there is no record.
#[derive(Clone, Default)]
pub struct Trail(Option<Arc<Record>>);

pub struct Record {
    audit: Arc<Audit>,
    verdict: Verdict,
    event: Mutex<Event>,
    ended: AtomicBool,
}

impl Trail {
    pub fn begin(audit: &Arc<Audit>, request: Request<'_>) -> Trail {
        const LONGEST_AGENT: usize = 1024;
        let asked = request.asked;
        let verdict = audit.policy.judge(asked, request.known);
        if verdict.level == Level::None {
            return Trail(None);
        }
        let object_ref = asked.resource_request.then(|| ObjectRef {
            resource: asked.resource.clone(),
            namespace: asked.namespace.clone(),
            name: asked.name.clone(),
            api_group: asked.group.clone(),
            api_version: asked.version.clone(),
            subresource: asked.subresource.clone(),
            ..ObjectRef::default()
        });
        let agent = request.user_agent;
        let event = Event {
            level: verdict.level,
            audit_id: request.audit_id.into(),
            stage: Stage::RequestReceived,
            request_uri: request.uri.into(),
            verb: asked.verb.clone(),
            user: request.known.then(|| asked.user.clone()),
            impersonated: None,
            source_ips: request.source_ips,
            user_agent: match agent.get(..LONGEST_AGENT) {
                Some(beginning) if agent.len() > LONGEST_AGENT => {
                    format!("{beginning}...TRUNCATED")
                }
                _ => agent.into(),
            },
            object_ref,
            answered: None,
            request_object: None,
            response_object: None,
            received: request.received,
            stage_at: request.received,
            annotations: Default::default(),
        };
        Trail(Some(Arc::new(Record {
            audit: audit.clone(),
            verdict,
            event: Mutex::new(event),
            ended: AtomicBool::new(false),
        })))
    }

    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Whether so much is told of the request.
    pub fn wants(&self, level: Level) -> bool {
        self.0
            .as_ref()
            .is_some_and(|record| record.verdict.level >= level)
    }

    /// Sets an annotation where so much is told; the first to set it is right.
    pub fn note_at(&self, level: Level, key: &str, value: impl FnOnce() -> String) {
        let Some(record) = self.0.as_ref().filter(|_| self.wants(level)) else {
            return;
        };
        let value = value();
        let mut event = record.event.lock();
        match event.annotations.get(key) {
            None => {
                event.annotations.insert(key.into(), value);
            }
            Some(set) if *set == value => {}
            Some(set) => tracing::warn!(
                "Failed to set annotations[{key:?}] to {value:?} for audit:{:?}, it has already been set to {set:?}",
                event.audit_id
            ),
        }
    }

    pub fn note(&self, key: &str, value: impl Into<String>) {
        if self.is_on() {
            let value = value.into();
            self.note_at(Level::Metadata, key, || value);
        }
    }

    /// In whose name the request goes on.
    pub fn impersonated(&self, user: &Arc<User>) {
        if let Some(record) = &self.0 {
            record.event.lock().impersonated = Some(user.clone());
        }
    }

    /// The object that was sent, with its defaults.
    pub fn sent(&self, object: &Value, node: Option<Node>) {
        let Some(record) = &self.0 else { return };
        let text = self
            .wants(Level::Request)
            .then(|| record.copied(&to_json(object, node)));
        let mut event = record.event.lock();
        let named = event.object_ref.get_or_insert_default();
        for (field, given) in [
            (&mut named.namespace, object.namespace()),
            (&mut named.name, object.name()),
            (&mut named.uid, object.uid()),
            (&mut named.resource_version, object.resource_version()),
        ] {
            if field.is_empty() {
                *field = given.into();
            }
        }
        event.request_object = text;
    }

    /// A patch that was sent, as it came; one in YAML as JSON, since an event is JSON.
    pub fn patched(&self, text: &[u8]) {
        let Some(record) = self.0.as_ref().filter(|_| self.wants(Level::Request)) else {
            return;
        };
        let is_json = serde_json::from_slice::<&serde_json::value::RawValue>(text).is_ok();
        let copied = match is_json {
            true => Some(compact(text, false)),
            // what is neither is refused by who reads it
            false => std::str::from_utf8(text)
                .ok()
                .and_then(|text| yaml::read_first(text).ok())
                .map(|(value, _)| to_json(&value, None)),
        };
        record.event.lock().request_object = copied.map(Into::into);
    }

    /// What was answered.
    pub(super) fn answered(&self, code: u16, status: Option<Value>, object: Option<&[u8]>) {
        let Some(record) = &self.0 else { return };
        let object = object
            .filter(|_| self.wants(Level::RequestResponse))
            .map(|text| record.copied(text));
        let status = status.map(|mut status| {
            if let Some(map) = status.as_object_mut() {
                map.retain(|name, _| {
                    matches!(name.as_str(), "status" | "message" | "reason" | "details")
                });
            }
            status
        });
        let mut event = record.event.lock();
        event.answered = Some(Answered { code, status });
        event.response_object = object;
    }

    /// Tells of a stage; false: the request is to be refused, since somebody must be told of it and was not.
    pub async fn reach(&self, stage: Stage) -> bool {
        let mut all = true;
        for taken in self.tell(stage) {
            all &= match taken {
                Taken::Now(done) => done,
                Taken::Later(work) => work.await,
            };
        }
        all
    }

    fn tell(&self, stage: Stage) -> Vec<Taken> {
        let Some(record) = &self.0 else {
            return Vec::new();
        };
        if matches!(stage, Stage::ResponseComplete | Stage::Panic)
            && record.ended.swap(true, Ordering::AcqRel)
        {
            return Vec::new();
        }
        if record.verdict.omit_stages.contains(&stage) {
            return Vec::new();
        }
        let mut event = record.event.lock();
        event.stage = stage;
        if stage != Stage::RequestReceived {
            event.stage_at = record.audit.clock.now();
        }
        record.audit.tell(&event)
    }

    /// Tells, when it is dropped, that the request is through.
    pub fn ending(&self) -> Ending {
        Ending(self.clone())
    }

    pub(super) fn is_answered(&self) -> bool {
        let answered = |record: &Arc<Record>| record.event.lock().answered.is_some();
        self.0.as_ref().is_some_and(answered)
    }
}

impl Record {
    fn copied(&self, json: &[u8]) -> Arc<[u8]> {
        compact(json, self.verdict.omit_managed_fields).into()
    }
}

/// A request's end, for what goes on after its answer has begun.
pub struct Ending(Trail);

impl Drop for Ending {
    fn drop(&mut self) {
        for taken in self.0.tell(Stage::ResponseComplete) {
            let Taken::Later(work) = taken else { continue };
            match tokio::runtime::Handle::try_current() {
                Ok(_) => drop(skiff_watching::task::spawn(work)),
                Err(_) => {
                    tracing::error!("the end of a request was not told: the server has stopped")
                }
            }
        }
    }
}
