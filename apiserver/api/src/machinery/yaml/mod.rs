//! YAML in and out: reading into JSON values with the line of every field, and writing as kubectl writes.
//! Invariant: what `write` gives, `read` takes back to the same value.
//! Behaviour follows `sigs.k8s.io/yaml`: YAML 1.1 plain scalars, mappings sorted by key.
//!
//! `granit_parser` reads, because fields need their lines and keys that stand twice are told of; `serde_yaml_ng`, which has neither, is asked by `fault`
//! alone: it is libyaml, whose words upstream's errors are.

mod fault;
mod read;
mod scalar;
mod write;

pub use read::{Document, nearest_line, read, read_first, read_lax, read_new};
pub use write::write;
