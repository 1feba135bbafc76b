//! The configurations as they are now, read when they change and not when they are asked for.
//!
//! Invariant: one task owns what is known; who asks gets the webhooks of all configurations, by the names of these, and none where there is no
//! configuration costs one load. A configuration that cannot be read is kept as one that refuses: nobody goes unasked because of it.
//! Follows `staging/src/k8s.io/apiserver/pkg/admission/configuration`.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use arc_swap::ArcSwap;
use skiff_api::machinery::status::Status;
use skiff_storage::{Error, EventKind, Object};
use tokio_util::sync::CancellationToken;

use super::hook::{self, Hook};
use crate::{core::Core, dial::Behind, stored};

/// The webhooks of a configuration; or why it cannot be read.
type Read = Result<Vec<Arc<Hook>>, Status>;

/// What is known of the configurations of one kind.
#[derive(Default)]
pub struct Configurations {
    any: AtomicBool,
    hooks: ArcSwap<Known>,
}

#[derive(Default)]
struct Known(BTreeMap<String, Read>);

impl Configurations {
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// All webhooks in the order in which they are asked.
    ///
    /// # Errors
    /// A configuration cannot be read.
    pub fn hooks(&self) -> Result<Vec<Arc<Hook>>, Status> {
        let known = self.hooks.load();
        let mut all = Vec::new();
        for read in known.0.values() {
            all.extend(read.as_ref().map_err(Status::clone)?.iter().cloned());
        }
        Ok(all)
    }

    fn publish(&self, known: &BTreeMap<String, Read>) {
        self.hooks.store(Arc::new(Known(known.clone())));
        self.any.store(!known.is_empty(), Ordering::Release);
    }
}

/// Reads all configurations of `resource`, and follows them until the server stops.
pub fn follow(
    core: &Arc<Core>,
    resource: &'static str,
    configurations: Arc<Configurations>,
    behind: Option<Behind>,
    stopping: CancellationToken,
) {
    let mut following = Following {
        core: core.clone(),
        resource,
        configurations,
        behind,
        known: BTreeMap::new(),
        revision: 0,
    };
    following.load();
    skiff_watching::task::spawn(async move {
        tokio::select! {
            () = following.run() => {}
            () = stopping.cancelled() => {}
        }
    });
}

struct Following {
    core: Arc<Core>,
    resource: &'static str,
    configurations: Arc<Configurations>,
    behind: Option<Behind>,
    known: BTreeMap<String, Read>,
    revision: u64,
}

impl Following {
    fn load(&mut self) {
        let snapshot = self.core.store.snapshot(self.resource);
        self.revision = snapshot.revision();
        self.known.clear();
        for object in snapshot.range(None, None) {
            self.put(&object);
        }
        self.configurations.publish(&self.known);
    }

    fn put(&mut self, object: &Object) {
        let read = stored::value(object).map(|configuration| {
            let hooks = hook::all_of(&configuration, self.behind.as_ref());
            hooks.into_iter().map(Arc::new).collect()
        });
        if let Err(status) = &read {
            tracing::error!("writes are refused: {}", status.message);
        }
        self.known.insert(object.key.name.to_string(), read);
    }

    async fn run(mut self) {
        loop {
            let mut watch = match self.core.store.watch(self.resource, self.revision) {
                Ok(watch) => watch,
                Err(Error::Closed) => return,
                // fallen behind: all is read again
                Err(_) => {
                    self.load();
                    tokio::task::yield_now().await;
                    continue;
                }
            };
            loop {
                let events = match watch.next_batch().await {
                    Ok(events) => events,
                    Err(Error::Closed) => return,
                    Err(_) => break self.load(),
                };
                for event in events {
                    self.revision = event.revision;
                    match event.kind {
                        EventKind::Deleted => drop(self.known.remove(&*event.object.key.name)),
                        EventKind::Added | EventKind::Modified => self.put(&event.object),
                    }
                }
                self.configurations.publish(&self.known);
            }
        }
    }
}
