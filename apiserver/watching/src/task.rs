//! Tasks by a pointer: tokio makes some twenty functions for each type of future that is spawned, and a program has hundreds of those.
//! Behind a pointer all tasks with one kind of answer are of one type.

use std::{future::Future, pin::Pin};

use tokio::task::JoinHandle;

/// A future behind a pointer.
pub type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The same as [`tokio::spawn`].
pub fn spawn<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(boxed(future))
}

/// For sets of tasks, which have a `spawn` of their own.
pub fn boxed<T>(future: impl Future<Output = T> + Send + 'static) -> Boxed<T> {
    Box::pin(future)
}
