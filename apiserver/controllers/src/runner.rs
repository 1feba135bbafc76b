//! Runs controllers: gives each what it needs, waits for its caches, and feeds its reconcile function from its queue.
//!
//! Invariant: a controller starts only when the kinds that it reads have been listed; a failed key is retried with back-off, and one that makes the
//! controller panic, too: neither takes a worker from the other keys; everything ends at the one stop signal. Follows cmd/kube-controller-manager/app/controllermanager.go.

use std::{future::Future, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use futures::{
    FutureExt,
    future::{BoxFuture, join_all},
};
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    api::Api,
    clock::Clock,
    error::Error,
    events::{Events, Recorder},
    expectations::Fresh,
    informer::{Cached, Informer, Informers},
    options::Options,
    queue::{Queue, QueueKey, Retry},
};

/// What a controller does once its caches are filled; `None` when the options leave it nothing to do.
pub type Work = Option<BoxFuture<'static, ()>>;

/// What every controller is made of. One is made for each controller, so that its caches are known.
pub struct Context {
    /// The API, as the controller's own account.
    pub api: Api,
    /// The API as the manager itself, which may list and watch all there is: for what the caches do not hold.
    pub reader: Api,
    /// Where the time comes from.
    pub clock: Clock,
    /// The manager's options.
    pub options: Arc<Options>,
    /// Ends everything.
    pub stop: CancellationToken,
    /// All caches, for a controller that does not know its kinds beforehand.
    pub informers: Informers,
    events: Events,
    needs: Mutex<Vec<watch::Receiver<bool>>>,
}

impl Context {
    /// For one controller.
    pub fn new(
        api: Api,
        reader: Api,
        informers: Informers,
        events: Events,
        options: Arc<Options>,
        stop: CancellationToken,
    ) -> Self {
        Self {
            api,
            reader,
            clock: options.clock.clone(),
            options,
            stop,
            informers,
            events,
            needs: Mutex::default(),
        }
    }

    /// The shared cache of a kind; the controller will not start before it is filled.
    pub fn informer<K: Cached>(&self) -> Informer<K> {
        let informer = self.informers.of::<K>();
        self.needs.lock().push(informer.synced());
        informer
    }

    /// The same for a controller that writes the kind.
    pub fn fresh<K: Cached>(&self) -> Fresh<K> {
        Fresh::new(self.informer(), self.clock.clone())
    }

    /// A recorder of events.
    pub fn recorder(&self, component: &'static str) -> Recorder {
        self.events.recorder(component)
    }

    /// An empty queue, whose metrics bear a name.
    pub fn queue<K: QueueKey>(&self, name: &'static str) -> Arc<Queue<K>> {
        Queue::new(name, self.clock.clone(), &self.options.queues)
    }

    /// Workers that reconcile what `queue` holds, as many as `--concurrent-syncs` says.
    pub fn workers<K, C>(&self, controller: Arc<C>, queue: Arc<Queue<K>>) -> BoxFuture<'static, ()>
    where
        K: QueueKey,
        C: Reconcile<K>,
    {
        self.some_workers(self.options.concurrent_syncs, controller, queue)
    }

    /// So many workers.
    pub fn some_workers<K, C>(
        &self,
        count: usize,
        controller: Arc<C>,
        queue: Arc<Queue<K>>,
    ) -> BoxFuture<'static, ()>
    where
        K: QueueKey,
        C: Reconcile<K>,
    {
        let stop = self.stop.clone();
        let workers: Vec<_> = (0..count.max(1))
            .map(|_| tokio_worker(controller.clone(), queue.clone(), stop.clone()))
            .collect();
        Box::pin(async move {
            let handles: Vec<_> = workers.into_iter().map(tokio::spawn).collect();
            join_all(handles).await;
        })
    }

    /// Waits for the caches that were asked for; false when stopped first.
    pub fn synced(&self) -> impl Future<Output = bool> + Send + use<> {
        let needs = std::mem::take(&mut *self.needs.lock());
        let stop = self.stop.clone();
        async move {
            for mut need in needs {
                tokio::select! {
                    () = stop.cancelled() => return false,
                    ready = need.wait_for(|ready| *ready) => if ready.is_err() { return false },
                }
            }
            true
        }
    }
}

/// What is to happen to a key after it was reconciled without error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Next {
    /// Reconcile it again after this time, whatever happens.
    pub again: Option<Duration>,
    /// Changes that come sooner than this are taken together.
    pub rest: Duration,
}

impl Next {
    /// Nothing until it changes.
    pub const DONE: Self = Self {
        again: None,
        rest: Duration::ZERO,
    };

    /// Again after a time.
    pub fn after(delay: Duration) -> Self {
        Self {
            again: Some(delay),
            rest: Duration::ZERO,
        }
    }

    /// Again after a time, if there is one.
    pub fn maybe_after(delay: Option<Duration>) -> Self {
        Self {
            again: delay,
            rest: Duration::ZERO,
        }
    }

    /// With a rest that grows with the number of objects that were looked at: a fiftieth of a second for a thousand.
    pub fn resting(self, objects: usize) -> Self {
        let micros = u64::try_from(objects)
            .unwrap_or(u64::MAX)
            .saturating_mul(20);
        Self {
            rest: if objects < 50 {
                Duration::ZERO
            } else {
                Duration::from_micros(micros).min(Duration::from_millis(200))
            },
            ..self
        }
    }
}

/// Brings one object to where it should be.
pub trait Reconcile<K>: Send + Sync + 'static {
    /// The controller's name in logs.
    const NAME: &'static str;
    /// How long it waits before it tries again what failed.
    const RETRY: Retry = Retry::DEFAULT;
    /// Compares what is with what should be, and acts.
    fn reconcile(&self, key: &K) -> impl Future<Output = Result<Next, Error>> + Send;
}

/// What became of some work, also when it panicked: then its worker goes on with what comes next.
async fn caught<T>(work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    AssertUnwindSafe(work)
        .catch_unwind()
        .await
        .unwrap_or_else(|panic| {
            let text = panic
                .downcast_ref::<&str>()
                .map(|text| (*text).to_owned())
                .or_else(|| panic.downcast_ref::<String>().cloned());
            Err(failed!("panicked: {}", text.unwrap_or_default()))
        })
}

async fn tokio_worker<K: QueueKey, C: Reconcile<K>>(
    controller: Arc<C>,
    queue: Arc<Queue<K>>,
    stop: CancellationToken,
) {
    while let Some(key) = queue.get(&stop).await {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = caught(controller.reconcile(&key)) => outcome,
        };
        let mut rest = Duration::ZERO;
        match outcome {
            Ok(next) => {
                queue.forget(&key);
                rest = next.rest;
                if let Some(delay) = next.again {
                    queue.add_after(key.clone(), delay);
                }
            }
            Err(error) => {
                tracing::debug!(controller = C::NAME, %key, %error, "reconciliation failed, will retry");
                queue.add_rate_limited(key.clone(), C::RETRY);
            }
        }
        queue.done(&key, rest);
    }
}

/// Calls `act` every `period`, first at once, until `stop`.
pub async fn every<F, R>(clock: Clock, period: Duration, stop: CancellationToken, mut act: F)
where
    F: FnMut() -> R,
    R: Future<Output = ()>,
{
    loop {
        if let Err(error) = caught(act().map(Ok)).await {
            tracing::error!(%error, "what is done every so often was not done to its end");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = clock.sleep(period) => {}
        }
    }
}

/// Runs `count` calls in batches of 1, 2, 4, … that run side by side, and stops after the first batch with a failure: a quota or a bug
/// then costs one call and not thousands. Gives how many went well, and the first failure.
pub async fn slow_start<F, R>(count: usize, call: F) -> (usize, Option<Error>)
where
    F: Fn(usize) -> R,
    R: Future<Output = Result<(), Error>>,
{
    let (mut done, mut batch) = (0, 1);
    let mut succeeded = 0;
    while done < count {
        let size = batch.min(count - done);
        let results = join_all((done..done + size).map(&call)).await;
        succeeded += results.iter().filter(|r| r.is_ok()).count();
        if let Some(error) = results.into_iter().find_map(Result::err) {
            return (succeeded, Some(error));
        }
        done += size;
        batch *= 2;
    }
    (succeeded, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Queues;

    struct Odd(Mutex<Vec<u32>>);

    impl Reconcile<u32> for Odd {
        const NAME: &'static str = "odd";

        async fn reconcile(&self, key: &u32) -> Result<Next, Error> {
            let times = {
                let mut seen = self.0.lock();
                seen.push(*key);
                seen.iter().filter(|k| *k == key).count()
            };
            assert!(key.is_multiple_of(2) || times > 2, "{key} is odd");
            Ok(Next::DONE)
        }
    }

    #[tokio::test]
    async fn a_panic_takes_no_worker_and_its_key_is_tried_again() {
        let (stop, queue) = (
            CancellationToken::new(),
            Queue::new("odd", Clock::system(), &Queues::default()),
        );
        let controller = Arc::new(Odd(Mutex::default()));
        let worker = tokio::spawn(tokio_worker(
            controller.clone(),
            queue.clone(),
            stop.clone(),
        ));
        (1..=6).for_each(|key| queue.add(key));
        let begun = std::time::Instant::now();
        while controller.0.lock().len() < 12 {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{:?}",
                controller.0.lock()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        stop.cancel();
        worker.await.unwrap();
    }

    #[tokio::test]
    async fn slow_start_stops_at_the_first_bad_batch() {
        let calls = std::sync::atomic::AtomicUsize::new(0);
        let (good, error) = slow_start(100, |i| {
            calls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            async move {
                if i >= 4 {
                    Err(Error::Failed("quota".into()))
                } else {
                    Ok(())
                }
            }
        })
        .await;
        assert_eq!((good, error.is_some(), calls.into_inner()), (4, true, 7));
        assert_eq!(slow_start(10, |_| async { Ok(()) }).await.0, 10);
    }
}
