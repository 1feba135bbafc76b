//! The revisioned store: every object of the cluster as canonical JSON bytes under a key, with one revision counter for all.
//!
//! Invariant: what [`Store::commit`] answered is on disk; readers see immutable snapshots and never wait for writers; revisions
//! are dense, grow by one a write, and every write of a resource is seen once, in order, by each of its watchers.
//! Follows the behaviour of upstream's `staging/src/k8s.io/apiserver/pkg/storage/interfaces.go` and `storage/cacher`.
//!
//! Only this crate names a database. `redb` is the durable one, `memory` serves tests.

mod attributes;
mod cipher;
mod codec;
mod interest;
mod limits;
mod loading;
mod log;
pub mod memory;
mod objects;
mod pack;
mod packs;
mod past;
pub mod redb;
mod ring;
mod segments;
mod state;
mod store;
mod text;
mod types;
mod watch;
mod writer;

pub use attributes::Attributes;
pub use cipher::{Cipher, CipherError};
pub use interest::Interest;
pub use limits::History;
pub use objects::{Range, Snapshot};
pub use store::{LocalStore, Options, Store};
pub use text::Text;
pub use types::*;
pub use watch::Watch;
