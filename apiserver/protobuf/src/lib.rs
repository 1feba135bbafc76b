//! Kubernetes' protobuf: objects as clients written in Go send them and are sent them, by the schema table.
//!
//! `read.rs` makes JSON of messages, `write.rs` makes messages of the JSON text that is stored; `layout.rs` says how the fields of a type lie in its
//! message, for both. A message is written to the letter as upstream writes it: whoever compares bytes finds none that differ.
//! Follows `staging/src/k8s.io/apimachinery/pkg/runtime/serializer/protobuf/protobuf.go`, the `generated.proto` files and what gogo's generator makes
//! of them.

mod error;
mod known;
mod layout;
mod read;
mod scan;
mod wire;
mod write;

pub use error::ProtobufError;
pub use read::{Unwrapped, decode, unwrap};
pub use scan::Scan;
pub use wire::PREFIX;
pub use write::{Writer, encode, envelope, event, list_head, list_tail};

#[cfg(test)]
mod tests;
