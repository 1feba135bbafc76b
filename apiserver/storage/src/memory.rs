//! The store that forgets: all of the durable one but the disk. For tests and throw-away clusters.

use crate::{Error, LocalStore, Options, log::Nothing};

/// An empty store. Its writes are as durable as the process.
pub fn open(options: Options) -> Result<LocalStore, Error> {
    LocalStore::start(Box::new(Nothing), options)
}
