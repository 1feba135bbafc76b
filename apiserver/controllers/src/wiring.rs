//! How a controller is put together: what it watches, which keys a change means, and the workers that reconcile those.
//!
//! Invariant: everything is subscribed to before the first key is worked on; a handler only turns a change into keys. Follows the `New…Controller`
//! functions of pkg/controller (AddEventHandler).

use std::{ops::Deref, sync::Arc};

use skiff_watching::{
    api::Kind,
    informer::{Cached, Change, Informer},
    key::Key,
    queue::{Queue, QueueKey},
};

use crate::runner::{Context, Reconcile, Work};

/// A controller that is being put together; its parts are reached through it.
pub struct Wiring<'a, C, K> {
    context: &'a Context,
    controller: Arc<C>,
    queue: Arc<Queue<K>>,
}

impl Context {
    /// Begins to put a controller together; `queue` is its queue's name in metrics.
    pub fn wire<C, K: QueueKey>(&self, queue: &'static str, controller: C) -> Wiring<'_, C, K> {
        Wiring {
            context: self,
            controller: Arc::new(controller),
            queue: self.queue(queue),
        }
    }
}

impl<C, K> Deref for Wiring<'_, C, K> {
    type Target = C;

    fn deref(&self) -> &C {
        &self.controller
    }
}

impl<C: Send + Sync + 'static, K: QueueKey> Wiring<'_, C, K> {
    /// Lets `handle` turn every change of a kind into keys.
    pub fn on<O: Cached>(
        &self,
        kind: &Informer<O>,
        handle: impl Fn(&C, &Change<O>, &Queue<K>) + Send + Sync + 'static,
    ) {
        let (controller, queue) = self.parts();
        kind.subscribe(move |change| handle(&controller, change, &queue));
    }

    /// The controller and its queue, for what is not told of by a cache.
    pub fn parts(&self) -> (Arc<C>, Arc<Queue<K>>) {
        (self.controller.clone(), self.queue.clone())
    }

    /// As many workers as `--concurrent-syncs` says.
    pub fn workers(self) -> Work
    where
        C: Reconcile<K>,
    {
        Some(self.context.workers(self.controller, self.queue))
    }

    /// The same, with something else beside them.
    pub fn workers_and(self, other: impl Future<Output = ()> + Send + 'static) -> Work
    where
        C: Reconcile<K>,
    {
        let count = self.context.options.concurrent_syncs;
        self.some_workers_and(count, other)
    }

    /// So many workers, with something else beside them.
    pub fn some_workers_and(
        self,
        count: usize,
        other: impl Future<Output = ()> + Send + 'static,
    ) -> Work
    where
        C: Reconcile<K>,
    {
        let workers = self.some_workers(count)?;
        Some(Box::pin(async move {
            futures::future::join(workers, other).await;
        }))
    }

    /// So many workers.
    pub fn some_workers(self, count: usize) -> Work
    where
        C: Reconcile<K>,
    {
        Some(
            self.context
                .some_workers(count, self.controller, self.queue),
        )
    }
}

impl<C: Send + Sync + 'static> Wiring<'_, C, Key> {
    /// Every change of an object means the object itself.
    pub fn each<O: Cached>(&self, kind: &Informer<O>) {
        self.each_if(kind, |_| true);
    }

    /// The same, but for its end.
    pub fn each_there<O: Cached>(&self, kind: &Informer<O>) {
        self.each_if(kind, |change| !matches!(change, Change::Deleted(_)));
    }

    /// The changes of an object that matter mean the object itself.
    pub fn each_if<O: Cached>(
        &self,
        kind: &Informer<O>,
        matters: impl Fn(&Change<O>) -> bool + Send + Sync + 'static,
    ) {
        self.on(kind, move |_, change, queue| {
            if matters(change) {
                queue.add(Key::of(change.object().meta()));
            }
        });
    }
}

/// Wakes all of these.
pub fn wake<O: Kind>(queue: &Queue<Key>, objects: impl IntoIterator<Item = Arc<O>>) {
    objects
        .into_iter()
        .for_each(|object| queue.add(Key::of(object.meta())));
}
