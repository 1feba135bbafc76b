//! What objects are on disk, where that is something else than what they are in memory.
//!
//! Invariant: bytes that cannot be opened stay on disk as they are; in memory their object is one that says why, and everything that reads it fails.

use std::borrow::Cow;

use crate::Key;

/// Why bytes were not sealed or opened.
#[derive(thiserror::Error, Debug, Clone, PartialEq)]
#[error("{0}")]
pub struct CipherError(pub String);

/// Turns the bytes of objects into those on disk, and back. Called by the one writer, and while a store is opened.
pub trait Cipher: Send + Sync {
    /// The bytes to be kept on disk.
    ///
    /// # Errors
    /// They cannot be made: the write is refused.
    fn seal<'b>(&self, key: &Key, bytes: &'b [u8]) -> Result<Cow<'b, [u8]>, CipherError>;

    /// The bytes of the version of an object that lies so on disk.
    ///
    /// # Errors
    /// Why they cannot be told.
    fn open<'b>(
        &self,
        key: &Key,
        revision: u64,
        kept: &'b [u8],
    ) -> Result<Cow<'b, [u8]>, CipherError>;

    /// A version of an object lies on disk in another way than it would be written now.
    fn is_stale(&self, key: &Key, revision: u64) -> bool;
}

/// Stands before the reason in the place of an object's bytes; no JSON begins so.
const SEALED: u8 = 0;

/// What stands in the place of bytes that could not be opened.
pub(crate) fn sealed(why: &CipherError) -> Vec<u8> {
    let mut bytes = vec![SEALED];
    bytes.extend_from_slice(why.0.as_bytes());
    bytes
}

/// Why bytes could not be opened, if they could not.
pub(crate) fn why_sealed(bytes: &[u8]) -> Option<Cow<'_, str>> {
    let (first, why) = bytes.split_first()?;
    (*first == SEALED).then(|| String::from_utf8_lossy(why))
}
