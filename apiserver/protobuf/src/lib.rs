//! Kubernetes' protobuf: objects as clients written in Go send them and are sent them, by the schema table.
//!
//! `read.rs` makes JSON of messages, `write.rs` makes messages of the JSON text that is stored; `layout.rs` says how the fields of a type lie in its
//! message, for both. A message is written to the letter as upstream writes it: whoever compares bytes finds none that differ.
//! Follows `staging/src/k8s.io/apimachinery/pkg/runtime/serializer/protobuf/protobuf.go`, the `generated.proto` files and what gogo's generator makes
//! of them.

mod layout;
mod read;
mod scan;
mod wire;
mod write;

pub use read::{Unwrapped, decode, unwrap};
pub use write::{Writer, encode, event, list_head, list_tail};

/// The first bytes of an object in protobuf.
pub const PREFIX: &[u8; 4] = b"k8s\0";
/// Types may hold themselves (schemas of custom resources).
const DEPTH: usize = 200;

#[derive(Debug, thiserror::Error, PartialEq)]
pub enum ProtobufError {
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    Prefix,
    #[error("unexpected EOF")]
    Ended,
    #[error("proto: wrong wireType = {1} for field {0}")]
    Wire(u16, u8),
    #[error("proto: illegal wireType {0}")]
    Illegal(u8),
    #[error("proto: {0} is not valid UTF-8")]
    Text(u16),
    #[error("proto: exceeded max nesting depth")]
    Depth,
    #[error("{0}")]
    Json(String),
    /// The type, as Go prints it.
    #[error(
        "object *{0} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
    )]
    Formless(String),
    /// The byte of the JSON text at which it is not what its type wants.
    #[error("proto: byte {0} of the JSON does not fit the type")]
    Unfit(usize),
}

#[cfg(test)]
mod tests;
