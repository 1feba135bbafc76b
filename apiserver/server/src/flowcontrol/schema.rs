//! FlowSchemas that lead to their levels, and what answers tell of them.
//!
//! Invariant: of two schemas that match, the one with the lower precedence, then with the lesser name, takes the request.
//! Follows `pkg/util/flowcontrol/apf_controller.go` of `k8s.io/apiserver`.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use skiff_api::machinery::{meta::Meta, read::Read};

use super::{
    level::Level,
    rules::{By, Rule},
};
use crate::{auth::User, request::RequestInfo};

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// What each answer tells of how its request was taken: uids, so that nobody learns the names.
#[derive(Clone, Debug)]
pub struct Told {
    schema: HeaderValue,
    level: HeaderValue,
}

impl Told {
    /// Of these objects; of one that is imagined there is no uid.
    pub fn new(schema: &Value, level: &str) -> Told {
        let value =
            |uid: &str| HeaderValue::from_str(uid).unwrap_or_else(|_| HeaderValue::from_static(""));
        Told {
            schema: value(schema.uid()),
            level: value(level),
        }
    }

    pub fn mark(&self, headers: &mut HeaderMap) {
        headers.insert(LEVEL_UID, self.level.clone());
        headers.insert(SCHEMA_UID, self.schema.clone());
    }
}

/// A FlowSchema whose level is there.
pub struct Schema {
    pub name: Arc<str>,
    pub level: Arc<Level>,
    /// What the level keeps of the schema.
    pub place: usize,
    pub told: Told,
    pub by: By,
    precedence: i64,
    rules: Vec<Rule>,
}

impl Schema {
    /// The FlowSchema `object`, whose level is `level` with this uid.
    pub fn of(object: &Value, level: Arc<Level>, level_uid: &str) -> Schema {
        let (name, spec) = (object.name(), object.at("spec"));
        let by = match spec.at("distinguisherMethod").text("type") {
            "ByUser" => By::User,
            "ByNamespace" => By::Namespace,
            _ => By::Nothing,
        };
        Schema {
            name: name.into(),
            place: level.place_of(name, by),
            told: Told::new(object, level_uid),
            level,
            by,
            precedence: spec.int("matchingPrecedence"),
            rules: spec.list("rules").iter().map(Rule::of).collect(),
        }
    }

    pub fn matches(&self, user: &User, info: &RequestInfo) -> bool {
        self.rules.iter().any(|rule| rule.matches(user, info))
    }

    /// By what it goes before others.
    pub fn order(&self) -> (i64, &str) {
        (self.precedence, &self.name)
    }

    /// What stands for the flow of a request.
    pub fn flow(&self, user: &User, info: &RequestInfo) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.name.hash(&mut hasher);
        self.by.of(user, info).hash(&mut hasher);
        hasher.finish()
    }
}
