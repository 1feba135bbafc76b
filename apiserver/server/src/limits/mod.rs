//! What keeps one client from taking the server from the others: how many requests at once, how long one may take, and what becomes of a body
//! that nobody read.
//!
//! Invariant: a request holds a place, memory and a body for a time that is bounded, whatever its sender does.
//! Follows the filters of `staging/src/k8s.io/apiserver/pkg/server/filters`.

pub mod connection;
pub mod deadline;
pub mod inflight;
pub mod panics;
pub mod remainder;

/// Runs work whose time grows with `size` (bytes), so that it does not hold up others who share this thread when there is much of it.
pub fn heavy<T>(size: usize, work: impl FnOnce() -> T) -> T {
    const MUCH: usize = 128 * 1024;
    // another kind of runtime (of a test) has no other threads to go to
    let threads = || tokio::runtime::Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == tokio::runtime::RuntimeFlavor::MultiThread);
    if size > MUCH && threads() { tokio::task::block_in_place(work) } else { work() }
}
