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
use skiff_storage::Object;
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use super::hook::{self, Hook};
use crate::{
    auth::{Change, Follow},
    core::Core,
    dial::Behind,
    following::Following,
    stored,
};

/// The webhooks of a configuration; or why it cannot be read.
type Read = Result<Vec<Arc<Hook>>, Status>;

/// What is known of the configurations of one kind.
pub struct Configurations {
    any: AtomicBool,
    hooks: ArcSwap<Result<Arc<[Arc<Hook>]>, Status>>,
}

impl Default for Configurations {
    fn default() -> Configurations {
        Configurations {
            any: AtomicBool::default(),
            hooks: ArcSwap::from_pointee(Ok(Arc::default())),
        }
    }
}

impl Configurations {
    pub fn any(&self) -> bool {
        self.any.load(Ordering::Acquire)
    }

    /// All webhooks in the order in which they are asked.
    ///
    /// # Errors
    /// A configuration cannot be read.
    pub fn hooks(&self) -> Result<Arc<[Arc<Hook>]>, Status> {
        Result::clone(&self.hooks.load())
    }

    fn publish(&self, known: &BTreeMap<String, Read>) {
        let read: Result<Vec<_>, Status> = known.values().cloned().collect();
        let all = read.map(|configurations| configurations.concat().into());
        self.hooks.store(Arc::new(all));
        self.any.store(!known.is_empty(), Ordering::Release);
    }
}

/// Reads all configurations of `resource`, and follows them until the server stops.
pub fn follow(
    core: &Core,
    resource: &str,
    configurations: Arc<Configurations>,
    behind: Option<Behind>,
    stopping: CancellationToken,
) -> AbortHandle {
    let mut reader = Reader {
        configurations,
        behind,
        known: BTreeMap::new(),
    };
    let mut changes = Following::new(&core.store, resource);
    reader.take_in(changes.since());
    let task = skiff_watching::task::spawn(async move {
        loop {
            tokio::select! {
                next = changes.next() => match next {
                    Some(changes) => reader.take_in(changes),
                    None => return,
                },
                () = stopping.cancelled() => return,
            }
        }
    });
    task.abort_handle()
}

/// Reads what changes, for those who ask.
struct Reader {
    configurations: Arc<Configurations>,
    behind: Option<Behind>,
    known: BTreeMap<String, Read>,
}

impl Reader {
    fn take_in(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::All(objects) => {
                    self.known.clear();
                    objects.iter().for_each(|object| self.put(object));
                }
                Change::Put(object) => self.put(&object),
                Change::Removed(object) => {
                    self.known.remove(&*object.key.name);
                }
            }
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
}
