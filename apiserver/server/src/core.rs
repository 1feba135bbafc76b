//! What everything stands on that reads or writes objects: the kinds that are served, the store, the clock, and who may do what.
//!
//! Invariant: nothing here knows of requests or HTTP.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use skiff_api::{
    kinds::{Kind, Registry},
    machinery::{clock::SharedClock, status::Status},
};
use skiff_storage::{Key, Object, Store};

use crate::{
    auth::{Follow, Objects, authorize::Authorizers},
    following::Following,
};

pub struct Core {
    /// What is served now; replaced whole. Whoever began with one keeps it to the end.
    pub kinds: ArcSwap<Registry>,
    pub store: Arc<dyn Store>,
    pub clock: SharedClock,
    pub authorizers: Authorizers,
    pub converter: Box<dyn Converter>,
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
