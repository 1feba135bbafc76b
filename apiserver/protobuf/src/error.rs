//! Why something is not read or not written, in upstream's words where it has some.

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
