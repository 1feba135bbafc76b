//! What everything stands on that reads or writes objects: the kinds that are served, the store, the clock, and who may do what.
//!
//! Invariant: nothing here knows of requests or HTTP.

use std::{collections::BTreeMap, sync::Arc};

use arc_swap::ArcSwap;
use async_trait::async_trait;
use jiff::Timestamp;
use parking_lot::RwLock;
use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::status::Status,
};
use skiff_storage::{Error, Expect, Key, Object, Store, Write};

use skiff_watching::{
    clock::Clock,
    tally::{Histogram, SECONDS},
};

use crate::{
    auth::{Follow, Objects, authorize::Authorizers},
    following::Following,
};

pub struct Core {
    /// What is served now; replaced whole. Whoever began with one keeps it to the end.
    pub kinds: ArcSwap<Registry>,
    /// Those of them that no definition brings.
    pub own_kinds: &'static Arc<Registry>,
    pub store: Arc<dyn Store>,
    pub clock: Clock,
    pub authorizers: Authorizers,
    pub converter: Box<dyn Converter>,
    pub commits: Commits,
}

const OPERATIONS: [&str; 3] = ["create", "update", "delete"];

/// How long writes took, by resource and operation.
#[derive(Default)]
pub struct Commits(RwLock<BTreeMap<Arc<str>, Arc<[Histogram; 3]>>>);

impl Commits {
    fn of(&self, resource: &Arc<str>) -> Arc<[Histogram; 3]> {
        if let Some(of) = self.0.read().get(resource) {
            return of.clone();
        }
        let mut all = self.0.write();
        let of = all.entry(resource.clone());
        of.or_insert_with(|| Arc::new(OPERATIONS.map(|_| Histogram::new(SECONDS))))
            .clone()
    }

    /// Lines of `/metrics`.
    pub fn text(&self, name: &str, text: &mut String) {
        for (resource, of) in &*self.0.read() {
            let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
            for (operation, times) in OPERATIONS.iter().zip(&**of) {
                if times.count() > 0 {
                    let labels = format!(
                        "group=\"{group}\",operation=\"{operation}\",resource=\"{plural}\""
                    );
                    times.text(name, &labels, text);
                }
            }
        }
    }
}

/// Has objects of definitions converted by their webhooks.
#[async_trait]
pub trait Converter: Send + Sync {
    /// Objects of other versions as `to` has them, in their order.
    async fn convert(
        &self,
        core: &Core,
        to: &Kind,
        objects: Vec<Value>,
    ) -> Result<Vec<Value>, Status>;
}

impl Core {
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Does one write, as the store does it, and counts how long that took.
    pub async fn commit(&self, write: Write) -> Result<Arc<Object>, Error> {
        let operation = match (&write.expect, &write.draft) {
            (_, None) => 2,
            (Expect::Absent, Some(_)) => 0,
            (_, Some(_)) => 1,
        };
        let times = self.commits.of(&write.key.resource);
        let began = std::time::Instant::now();
        let done = self.store.commit(write).await;
        if let Some(times) = times.get(operation) {
            times.observe(began.elapsed().as_secs_f64());
        }
        done
    }
}

/// The store, as authentication and authorization read it.
pub struct StoredObjects(pub Arc<dyn Store>);

impl Objects for StoredObjects {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Object>> {
        self.0.get(&Key {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        })
    }
    fn list(&self, resource: &str, namespace: Option<&str>) -> Vec<Arc<Object>> {
        self.0.snapshot(resource).range(namespace, None).collect()
    }
    fn version(&self, resource: &str) -> u64 {
        self.0.resource_revision(resource)
    }
    fn follow(&self, resource: &str) -> Box<dyn Follow> {
        Box::new(Following::new(&self.0, resource))
    }
}
