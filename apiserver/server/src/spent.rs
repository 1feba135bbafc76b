//! What is noticed while one request is answered, for its metrics: how long it waited for others, and how much it sent.
//!
//! Invariant: what is noticed outside of a request (the server's own work) is noticed by nobody.
//! Follows `LatencyTrackers` of `staging/src/k8s.io/apiserver/pkg/endpoints/request/webhook_duration.go`.

use std::{cell::Cell, time::Duration};

/// Of one request.
#[derive(Default)]
pub struct Spent {
    /// For webhooks, which are not this server.
    pub waited: Cell<Duration>,
    /// Bytes of its body, when somebody read it.
    pub body: Cell<Option<usize>>,
}

tokio::task_local! {
    static SPENT: Spent;
}

/// Answers a request, and tells what was noticed meanwhile.
pub async fn noticing<T>(work: impl Future<Output = T>) -> (T, Spent) {
    let work = async {
        let answer = work.await;
        let spent = SPENT.with(|spent| Spent {
            waited: spent.waited.take().into(),
            body: spent.body.take().into(),
        });
        (answer, spent)
    };
    SPENT.scope(Spent::default(), work).await
}

/// The request waited so long for others.
pub fn waited(took: Duration) {
    // outside of a request there is nobody to tell
    let _ = SPENT.try_with(|spent| spent.waited.set(spent.waited.get() + took));
}

/// Its body was read.
pub fn read(bytes: usize) {
    // outside of a request there is nobody to tell
    let _ = SPENT.try_with(|spent| spent.body.set(Some(bytes)));
}
