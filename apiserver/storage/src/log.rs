//! What the writer needs of a database: to append a batch durably, to fold old batches into the objects, to recover from a failure.
//!
//! Invariant: an append that answered `Ok` survives the process and the machine; one that answered an error has, after
//! [`Log::recover`], left nothing behind.

use crate::{Error, codec::Damage};

/// What a database holds, in this order: its compacted revision, all objects as of it in the order of their keys, then the batches
/// after it, oldest first.
pub(crate) enum Loaded<'a> {
    Compacted(u64),
    Object {
        resource: &'a str,
        namespace: &'a str,
        name: &'a str,
        revision: u64,
        bytes: &'a [u8],
    },
    Batch {
        first: u64,
        bytes: &'a [u8],
    },
}

pub(crate) type Sink<'a> = &'a mut dyn FnMut(Loaded<'_>) -> Result<(), Damage>;

pub(crate) trait Log: Send + 'static {
    /// Yields all that is kept to `sink`, whose error is a reason for [`Error::Damaged`].
    fn load(&mut self, sink: Sink<'_>) -> Result<(), Error>;

    /// Keeps a batch whose first write has the revision `first`.
    fn append(&mut self, first: u64, batch: &[u8]) -> Result<(), Error>;

    /// Folds the batches up to the revision `through` (the last of a batch) into the objects. `newest` is the last that was kept.
    fn compact(&mut self, through: u64, newest: u64) -> Result<(), Error>;

    /// Notes for the next start that the log reaches to `newest`, so that a lost end is noticed.
    fn close(&mut self, newest: u64) -> Result<(), Error>;

    /// After an error: makes the log usable again, with nothing after the revision `newest` in it.
    fn recover(&mut self, newest: u64) -> Result<(), Error>;
}

/// Keeps nothing: for a store that lives in memory only.
pub(crate) struct Nothing;

/// The revision of a store that was never written to. Zero means "any" to clients.
pub(crate) const FIRST: u64 = 1;

impl Log for Nothing {
    fn load(&mut self, sink: Sink<'_>) -> Result<(), Error> {
        sink(Loaded::Compacted(FIRST)).map_err(|reason| Error::Database {
            what: "start an empty store",
            reason: reason.to_string(),
        })
    }

    fn append(&mut self, _: u64, _: &[u8]) -> Result<(), Error> {
        Ok(())
    }

    fn compact(&mut self, _: u64, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn close(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }

    fn recover(&mut self, _: u64) -> Result<(), Error> {
        Ok(())
    }
}
