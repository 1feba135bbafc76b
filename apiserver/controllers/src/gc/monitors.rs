//! The garbage collector's eyes: one metadata watch a resource, shared with the typed caches where there is one.
//!
//! Invariant: resources come and go with discovery, which is asked every half minute and at once when a definition changes.
//! Follows pkg/controller/garbagecollector/graph_builder.go (monitors) and garbagecollector.go (Sync).

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;
use skiff_podspec::parts::Meta as _;
use skiff_watching::decode::decode;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::{Shared, graph::Meta};
use crate::{
    discovery::{ApiResource, discover},
    informer::Informers,
    prelude::*,
    reflect::{Sink, Source, reflect},
};

const PERIOD: Duration = Duration::from_secs(30);
const SETTLE: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(30);
const LIST: &str =
    "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json";
const WATCH: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1,application/json";

struct Known {
    resource: ApiResource,
    stop: CancellationToken,
}

/// All watches.
pub struct Monitors {
    api: Api,
    clock: Clock,
    informers: Informers,
    shared: Arc<Shared>,
    stop: CancellationToken,
    known: Mutex<HashMap<String, Known>>,
    waiting: watch::Sender<Option<usize>>,
    changed: Arc<Notify>,
}

#[derive(Deserialize)]
struct Seen {
    metadata: Meta,
}

/// Puts what one watch shows into the graph.
struct Into {
    shared: Arc<Shared>,
    api_version: String,
    kind: String,
    listed: bool,
    waiting: watch::Sender<Option<usize>>,
    definitions: Option<Arc<Notify>>,
    informers: Informers,
    /// Of the list that is being read.
    seen: Vec<Meta>,
}

impl Into {
    /// Every object has metadata; what has none, or other than that, is told of and left out.
    fn read(&self, object: &str) -> Option<Meta> {
        decode::<Seen>(object, &[])
            .map_err(|error| tracing::warn!(kind = self.kind, %error, "cannot read an object's metadata"))
            .map(|seen| seen.metadata)
            .ok()
    }

    fn observe(&self, meta: &Meta) {
        let todo = self
            .shared
            .graph()
            .observe(&self.api_version, &self.kind, meta);
        self.shared.enqueue(todo);
        self.notice();
    }

    fn notice(&self) {
        if let Some(changed) = &self.definitions {
            changed.notify_one();
        }
    }
}

impl Sink for Into {
    fn begin(&mut self) {
        self.seen = Vec::new();
    }
    fn listed(&mut self, object: &str) {
        self.seen.extend(self.read(object));
    }
    fn complete(&mut self, _resource_version: &str) {
        let objects = std::mem::take(&mut self.seen);
        let seen: HashSet<&str> = objects.iter().map(|meta| meta.uid.as_str()).collect();
        let missing = self
            .shared
            .graph()
            .missing(&self.api_version, &self.kind, &seen);
        objects.iter().for_each(|meta| self.observe(meta));
        missing.iter().for_each(|uid| self.shared.removed(uid));
        if !std::mem::replace(&mut self.listed, true) {
            self.waiting
                .send_modify(|waiting| *waiting = waiting.map(|n| n.saturating_sub(1)));
        }
    }
    fn applied(&mut self, object: &str) -> Option<String> {
        let meta = self.read(object)?;
        self.observe(&meta);
        Some(meta.resource_version)
    }
    fn deleted(&mut self, object: &str) -> Option<String> {
        let meta = self.read(object)?;
        self.shared.removed(&meta.uid);
        self.informers.tell_deletion(&meta.namespace);
        self.notice();
        Some(meta.resource_version)
    }
    fn reached(&mut self, _resource_version: &str) {}
}

impl Monitors {
    /// None yet.
    pub fn new(context: &Context, shared: Arc<Shared>) -> Self {
        Self {
            api: context.api.clone(),
            clock: context.clock.clone(),
            informers: context.informers.clone(),
            shared,
            stop: context.stop.clone(),
            known: Mutex::default(),
            waiting: watch::Sender::new(None),
            changed: Arc::new(Notify::new()),
        }
    }

    /// The resource of a kind, if it is served in this version.
    pub fn resource(&self, api_version: &str, kind: &str) -> Option<ApiResource> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let known = self.known.lock();
        known
            .values()
            .map(|k| &k.resource)
            .find(|r| r.group == group && r.kind == kind && r.serves(version))
            .cloned()
    }

    /// Waits until all resources found at first have been listed, or long enough; false when stopped.
    pub async fn synced(&self) -> bool {
        let mut waiting = self.waiting.subscribe();
        tokio::select! {
            () = self.stop.cancelled() => false,
            _ = waiting.wait_for(|waiting| *waiting == Some(0)) => true,
            () = self.clock.sleep(PATIENCE) => true,
        }
    }

    /// Keeps the watches in step with discovery.
    pub async fn run(self: Arc<Self>) {
        loop {
            self.refresh().await;
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.clock.sleep(PERIOD) => {}
                () = self.changed.notified() => self.clock.sleep(SETTLE).await,
            }
        }
    }

    async fn refresh(&self) {
        let found = match discover(&self.api).await {
            Ok(found) => found,
            Err(error) => {
                tracing::debug!(%error, "cannot discover resources, keeping those that are known");
                return;
            }
        };
        let collected = |r: &ApiResource| {
            r.resource != "events"
                && !r.resource.contains('/')
                && r.supports(&["delete", "list", "watch"])
        };
        let wanted: HashMap<String, ApiResource> = found
            .resources
            .into_iter()
            .filter(collected)
            .map(|r| (r.path(""), r))
            .collect();
        let mut known = self.known.lock();
        if found.failed.is_empty() {
            known.retain(|path, known| {
                let stays = wanted.get(path) == Some(&known.resource);
                if !stays {
                    known.stop.cancel();
                }
                stays
            });
        }
        let new: Vec<_> = wanted
            .into_iter()
            .filter(|(path, _)| !known.contains_key(path))
            .collect();
        let first = self.waiting.borrow().is_none();
        if first {
            self.waiting.send_replace(Some(new.len()));
        }
        for (path, resource) in new {
            let stop = self.stop.child_token();
            self.watch(&path, &resource, stop.clone(), !first);
            known.insert(path, Known { resource, stop });
        }
    }

    fn watch(&self, path: &str, resource: &ApiResource, stop: CancellationToken, listed: bool) {
        let definitions = matches!(
            resource.resource.as_str(),
            "customresourcedefinitions" | "apiservices"
        )
        .then(|| self.changed.clone());
        let sink = Into {
            shared: self.shared.clone(),
            api_version: resource.api_version(),
            kind: resource.kind.clone(),
            listed,
            waiting: self.waiting.clone(),
            definitions,
            informers: self.informers.clone(),
            seen: Vec::new(),
        };
        let (shared, api_version, kind, ended) = (
            self.shared.clone(),
            sink.api_version.clone(),
            sink.kind.clone(),
            stop.clone(),
        );
        let informers = self.informers.clone();
        let handler = move |meta: &ObjectMeta, gone: bool| {
            if ended.is_cancelled() {
                return;
            }
            if gone {
                shared.removed(meta.uid());
                informers.tell_deletion(meta.namespace());
            } else {
                let todo = shared
                    .graph()
                    .observe(&api_version, &kind, &Meta::from(meta));
                shared.enqueue(todo);
            }
        };
        let waiting = self.waiting.clone();
        match self.informers.subscribe_metadata(path, Box::new(handler)) {
            Some(mut synced) => {
                if !listed {
                    skiff_watching::task::spawn(async move {
                        if synced.wait_for(|synced| *synced).await.is_ok() {
                            waiting.send_modify(|waiting| {
                                *waiting = waiting.map(|n| n.saturating_sub(1))
                            });
                        }
                    });
                }
            }
            None => {
                let source = Source {
                    path: path.to_string(),
                    query: String::new(),
                    accept: Some((LIST, WATCH)),
                };
                skiff_watching::task::spawn(reflect(
                    self.api.clone(),
                    self.clock.clone(),
                    source,
                    Box::new(sink),
                    stop,
                ));
            }
        }
    }
}
