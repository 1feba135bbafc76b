//! A resource followed: all that there is, then what happens to it, and all of it again when some of that was missed.
//!
//! Invariant: who asks misses nothing that can be read. A store that is closed ends the changes; that is no error and no panic.
//! Follows `staging/src/k8s.io/client-go/tools/cache/reflector.go` (list, watch, and list again when a watch is too old).

use std::sync::Arc;

use skiff_storage::{Error, Event, EventKind, Store, Watch};

use crate::auth::{Change, Follow};

/// A place in the changes of a resource.
pub struct Following {
    store: Arc<dyn Store>,
    resource: Box<str>,
    /// `None`: all of it is to be read.
    watch: Option<Watch>,
}

impl Following {
    /// Begins with all that there is.
    pub fn new(store: &Arc<dyn Store>, resource: &str) -> Following {
        Following {
            store: store.clone(),
            resource: resource.into(),
            watch: None,
        }
    }

    /// Begins after all that there is, which somebody else reads.
    pub fn from_now(store: &Arc<dyn Store>, resource: &str) -> Following {
        let mut following = Following::new(store, resource);
        following.begin_after(store.revision());
        following
    }

    /// What comes next, waited for; `None`: the store is closed, and nothing more comes. Can be cancelled without losing anything.
    pub async fn next(&mut self) -> Option<Vec<Change>> {
        let Some(watch) = &mut self.watch else {
            return Some(self.all());
        };
        match watch.next_batch().await {
            Ok(events) => Some(changes(&events).collect()),
            Err(Error::Closed) => None,
            Err(_) => Some(self.all()),
        }
    }

    fn all(&mut self) -> Vec<Change> {
        let snapshot = self.store.snapshot(&self.resource);
        self.begin_after(snapshot.revision());
        vec![Change::All(snapshot.range(None, None).collect())]
    }

    fn begin_after(&mut self, revision: u64) {
        // so much came at once that it is gone already: all is read again the next time
        self.watch = self.store.watch(&self.resource, revision).ok();
    }
}

impl Follow for Following {
    fn since(&mut self) -> Vec<Change> {
        match self.watch.as_mut().and_then(waiting) {
            Some(changes) => changes,
            None => self.all(),
        }
    }
}

/// What a watch has now; `None`: it has fallen behind.
fn waiting(watch: &mut Watch) -> Option<Vec<Change>> {
    let mut all = Vec::new();
    loop {
        match watch.try_next() {
            Ok(events) if events.is_empty() => return Some(all),
            Ok(events) => all.extend(changes(&events)),
            Err(Error::Closed) => return Some(all),
            Err(_) => return None,
        }
    }
}

fn changes(events: &[Arc<Event>]) -> impl Iterator<Item = Change> {
    events.iter().map(|event| match event.kind {
        EventKind::Deleted => Change::Removed(event.object.clone()),
        EventKind::Added | EventKind::Modified => Change::Put(event.object.clone()),
    })
}
