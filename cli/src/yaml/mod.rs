//! YAML in and out: reading into JSON values with the line of every field, and writing as kubectl writes.
//! Invariant: what `write` gives, `read` takes back to the same value.
//! Behaviour follows `sigs.k8s.io/yaml`: YAML 1.1 plain scalars, mappings sorted by key.

mod read;
mod write;

use skiff_api::machinery::yaml::{fault, scalar};

pub use read::{nearest_line, read};
pub use write::write;
