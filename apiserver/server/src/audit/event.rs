//! What is told of a request, and the two forms in which it is told.
//!
//! Invariant: fields stand in the order of upstream's struct, and text is escaped as Go escapes it.
//! Follows `staging/src/k8s.io/apiserver/pkg/apis/audit/v1/types.go` and `staging/src/k8s.io/apiserver/pkg/audit/format.go`.

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde_json::Value;
use skiff_api::machinery::quote::go_quote;
use skiff_api::machinery::{
    schema::{Schema, to_json, to_ordered_json},
    time,
};

use crate::auth::User;

/// How much is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Level {
    #[default]
    None,
    Metadata,
    Request,
    RequestResponse,
}

impl Level {
    pub const ALL: [(&'static str, Level); 4] = [
        ("None", Level::None),
        ("Metadata", Level::Metadata),
        ("Request", Level::Request),
        ("RequestResponse", Level::RequestResponse),
    ];

    fn name(self) -> &'static str {
        Level::ALL[self as usize].0
    }
}

/// Where a request is when it is told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    RequestReceived,
    ResponseStarted,
    ResponseComplete,
    Panic,
}

impl Stage {
    pub const ALL: [(&'static str, Stage); 4] = [
        ("RequestReceived", Stage::RequestReceived),
        ("ResponseStarted", Stage::ResponseStarted),
        ("ResponseComplete", Stage::ResponseComplete),
        ("Panic", Stage::Panic),
    ];

    fn name(self) -> &'static str {
        Stage::ALL[self as usize].0
    }
}

/// What a request is about.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObjectRef {
    pub resource: String,
    pub namespace: String,
    pub name: String,
    pub uid: String,
    pub api_group: String,
    pub api_version: String,
    pub resource_version: String,
    pub subresource: String,
}

/// What was answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answered {
    pub code: u16,
    /// The Status that was answered, if it was one, without kind and version.
    pub status: Option<Value>,
}

/// A request as far as it has come.
#[derive(Debug, Clone)]
pub struct Event {
    pub level: Level,
    pub audit_id: String,
    pub stage: Stage,
    pub request_uri: String,
    pub verb: String,
    /// `None`: nobody knows who asks.
    pub user: Option<Arc<User>>,
    pub impersonated: Option<Arc<User>>,
    pub source_ips: Vec<String>,
    pub user_agent: String,
    pub object_ref: Option<ObjectRef>,
    pub answered: Option<Answered>,
    /// Compact JSON.
    pub request_object: Option<Arc<[u8]>>,
    /// Compact JSON.
    pub response_object: Option<Arc<[u8]>>,
    pub received: Timestamp,
    pub stage_at: Timestamp,
    pub annotations: BTreeMap<String, String>,
}

/// Fields of an object of JSON, one after another.
struct Fields(Vec<u8>);

impl Fields {
    fn new() -> Fields {
        Fields(vec![b'{'])
    }

    fn raw(&mut self, name: &str, json: &[u8]) {
        if self.0.len() > 1 {
            self.0.push(b',');
        }
        self.0.push(b'"');
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b"\":");
        self.0.extend_from_slice(json);
    }

    fn text(&mut self, name: &str, text: &str) {
        self.raw(name, &to_json(&text.into(), None));
    }

    fn some(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.text(name, text);
        }
    }

    fn end(mut self) -> Vec<u8> {
        self.0.push(b'}');
        self.0
    }
}

fn user(user: Option<&User>) -> Vec<u8> {
    const ORDER: [&str; 4] = ["username", "uid", "groups", "extra"];
    match user.map(serde_json::to_value) {
        Some(Ok(value)) => to_ordered_json(&value, &ORDER, false),
        // a user is text alone, of which JSON can always be made
        Some(Err(_)) | None => b"{}".to_vec(),
    }
}

impl ObjectRef {
    fn json(&self) -> Vec<u8> {
        let mut fields = Fields::new();
        for (name, text) in [
            ("resource", &self.resource),
            ("namespace", &self.namespace),
            ("name", &self.name),
            ("uid", &self.uid),
            ("apiGroup", &self.api_group),
            ("apiVersion", &self.api_version),
            ("resourceVersion", &self.resource_version),
            ("subresource", &self.subresource),
        ] {
            fields.some(name, text);
        }
        fields.end()
    }
}

impl Answered {
    fn json(&self) -> Vec<u8> {
        let mut status = self.status.clone().unwrap_or_default();
        if status.is_null() {
            status = Value::Object(Default::default());
        }
        status["metadata"] = Value::Object(Default::default());
        if self.code != 0 {
            status["code"] = self.code.into();
        }
        to_json(&status, Schema::builtin().get("meta.v1.Status"))
    }
}

impl Event {
    /// The event as JSON; one that stands by itself says what it is, those of a list do not.
    pub fn json(&self, alone: bool) -> Vec<u8> {
        let mut fields = Fields::new();
        if alone {
            fields.raw("kind", b"\"Event\"");
            fields.raw("apiVersion", b"\"audit.k8s.io/v1\"");
        }
        fields.text("level", self.level.name());
        fields.text("auditID", &self.audit_id);
        fields.text("stage", self.stage.name());
        fields.text("requestURI", &self.request_uri);
        fields.text("verb", &self.verb);
        fields.raw("user", &user(self.user.as_deref()));
        if let Some(other) = &self.impersonated {
            fields.raw("impersonatedUser", &user(Some(other)));
        }
        if !self.source_ips.is_empty() {
            fields.raw("sourceIPs", &to_json(&self.source_ips.clone().into(), None));
        }
        fields.some("userAgent", &self.user_agent);
        if let Some(object) = &self.object_ref {
            fields.raw("objectRef", &object.json());
        }
        if let Some(answered) = &self.answered {
            fields.raw("responseStatus", &answered.json());
        }
        for (name, object) in [
            ("requestObject", &self.request_object),
            ("responseObject", &self.response_object),
        ] {
            if let Some(object) = object {
                fields.raw(name, object);
            }
        }
        fields.text("requestReceivedTimestamp", &time::micros(self.received));
        fields.text("stageTimestamp", &time::micros(self.stage_at));
        if !self.annotations.is_empty() {
            let mut annotations = Fields::new();
            for (key, value) in &self.annotations {
                annotations.text(key, value);
            }
            fields.raw("annotations", &annotations.end());
        }
        fields.end()
    }

    /// One line of text with a part of what is known.
    pub fn legacy(&self) -> String {
        let quoted = |list: &[String]| {
            let each: Vec<String> = list.iter().map(|one| go_quote(one)).collect();
            each.join(",")
        };
        let or = |text: Option<&str>, none: &str| match text {
            Some(text) if !text.is_empty() => text.to_string(),
            _ => none.to_string(),
        };
        let user = self.user.as_deref();
        let groups = user.map_or(String::new(), |user| quoted(&user.groups));
        let other = self.impersonated.as_deref();
        let other_groups = match other {
            Some(other) if !other.groups.is_empty() => quoted(&other.groups),
            _ => "<lookup>".into(),
        };
        let namespace = self.object_ref.as_ref().map(|of| of.namespace.as_str());
        let response = self.answered.as_ref().map(|answered| answered.code);
        let shown = [
            ("id", self.audit_id.clone()),
            ("stage", self.stage.name().into()),
            (
                "ip",
                or(self.source_ips.first().map(String::as_str), "<unknown>"),
            ),
            ("method", self.verb.clone()),
            ("user", or(user.map(|user| user.name.as_str()), "<none>")),
            ("groups", or(Some(&groups), "<none>")),
            (
                "as",
                other.map_or("<self>".into(), |other| other.name.clone()),
            ),
            ("asgroups", other_groups),
            ("user-agent", self.user_agent.clone()),
            ("namespace", or(namespace, "<none>")),
            ("uri", self.request_uri.clone()),
            (
                "response",
                response.map_or("<deferred>".into(), |code| code.to_string()),
            ),
        ];
        let shown = shown.map(|(name, text)| format!("{name}={}", go_quote(&text)));
        format!("{} AUDIT: {}", self.received, shown.join(" "))
    }
}
