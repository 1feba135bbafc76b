//! What keeps one client from taking the server from the others: how many requests at once, how long one may take, and what becomes of a body
//! that nobody read.
//!
//! Invariant: a request holds a place, memory and a body for a time that is bounded, whatever its sender does.
//! Follows the filters of `staging/src/k8s.io/apiserver/pkg/server/filters`.

use std::sync::{Arc, LazyLock};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub mod connection;
pub mod deadline;
pub mod held;
pub mod inflight;
pub mod panics;
pub mod remainder;

/// From so many bytes on, what is made of a body or for an answer is dear: it may take tens of times as much memory while it is worked on.
const DEAR: usize = 256 * 1024;

/// Waits until there is room for one more piece of dear work; the room is free again when what is returned is dropped. So few run at once that
/// their memory is bounded, whoever sends how many of them.
pub async fn room(size: usize) -> Option<OwnedSemaphorePermit> {
    static ROOM: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        Arc::new(Semaphore::new((2 * threads).max(4)))
    });
    // it is never closed
    if size > DEAR {
        ROOM.clone().acquire_owned().await.ok()
    } else {
        None
    }
}

/// Runs work whose time grows with `size` (bytes), so that it does not hold up others who share this thread when there is much of it.
pub fn heavy<T>(size: usize, work: impl FnOnce() -> T) -> T {
    const MUCH: usize = 128 * 1024;
    // another kind of runtime (of a test) has no other threads to go to
    let threads = || {
        tokio::runtime::Handle::try_current().is_ok_and(|handle| {
            handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread
        })
    };
    if size > MUCH && threads() {
        tokio::task::block_in_place(work)
    } else {
        work()
    }
}
