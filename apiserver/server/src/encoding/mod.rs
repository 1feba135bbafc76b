//! What answers are encoded in: everything that is different from one encoding to the next stands here, and no verb knows in which it answers.
//!
//! Invariant: objects come as the compact JSON that is stored or that [`json_of`] makes; protobuf is made of that text, never of a parsed object.
//! Follows `staging/src/k8s.io/apimachinery/pkg/runtime/serializer` (`codec_factory.go`, `json`, `protobuf`).

pub mod gzip;
mod kept;
mod list;

use std::borrow::Cow;

use bytes::{Buf, Bytes, BytesMut};
pub use kept::Kept;
pub use list::List;
use serde_json::Value;
use skiff_api::{
    kinds::Kind,
    machinery::{
        read::Read,
        schema::{Node, Schema, conform, to_json, to_pretty_json},
        status::Status,
        yaml,
    },
};
use skiff_protobuf::{self as protobuf, ProtobufError};
use skiff_storage::{Object, Text};

/// What a client may be sent, in the order in which upstream offers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Json,
    Yaml,
    Protobuf,
}

/// The type of an object, as the object itself says.
fn node_of(value: &Value) -> Option<Node<'static>> {
    Schema::builtin().of_kind(
        value.text_ptr("apiVersion").unwrap_or("v1"),
        value.text_ptr("kind")?,
    )
}

/// An object as compact JSON, in the order of the fields of the kind that it says it is.
pub fn json_of(value: &Value) -> Vec<u8> {
    to_json(value, node_of(value))
}

fn unwritten(error: ProtobufError) -> Status {
    match error {
        ProtobufError::Formless(_) => Status::not_acceptable(error.to_string()),
        error => Status::internal(format!("cannot encode what is stored: {error}")),
    }
}

impl Encoding {
    pub const ALL: [Encoding; 3] = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf];

    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// What a watch is sent as; `None`: no watch is sent in it.
    pub fn stream_type(self) -> Option<&'static str> {
        match self {
            Encoding::Json => Some("application/json"),
            Encoding::Yaml => None,
            Encoding::Protobuf => Some("application/vnd.kubernetes.protobuf;stream=watch"),
        }
    }

    /// What a watch of this type is sent in.
    pub fn of_stream(media_type: &str) -> Option<Encoding> {
        Encoding::ALL
            .into_iter()
            .find(|encoding| encoding.stream_type() == Some(media_type))
    }

    /// Takes the first whole event out of what was sent of a watch, as it is where something else says how long it is.
    pub fn next_event(self, sent: &mut BytesMut) -> Option<Bytes> {
        match self {
            Encoding::Protobuf => {
                let length = *sent.first_chunk::<4>()?;
                let length = usize::try_from(u32::from_be_bytes(length)).ok()?;
                if sent.len() - 4 < length {
                    return None;
                }
                sent.advance(4);
                Some(sent.split_to(length).freeze())
            }
            _ => {
                let end = memchr::memchr(b'\n', sent)?;
                Some(sent.split_to(end + 1).freeze())
            }
        }
    }

    /// Its documents are text.
    pub fn is_text(self) -> bool {
        self != Encoding::Protobuf
    }

    /// Every kind of object has a form in it, tables and custom objects among them.
    pub fn is_of_any_type(self) -> bool {
        self != Encoding::Protobuf
    }

    /// The encoding of a media type without parameters.
    pub fn of(media_type: &str) -> Option<Encoding> {
        Encoding::ALL
            .into_iter()
            .find(|encoding| encoding.media_type() == media_type)
    }

    /// A stored object, whose type is at `node`; `pretty`: as a person reads it.
    pub fn stored(self, object: &Text, node: Node, pretty: bool) -> Result<Vec<u8>, Status> {
        match self {
            Encoding::Json if !pretty => {
                let mut line = Vec::with_capacity(object.len() + 1);
                object.put_after(0, &mut line);
                line.push(b'\n');
                Ok(line)
            }
            Encoding::Protobuf => protobuf::encode(&object.read(), node).map_err(unwritten),
            _ => {
                let value: Value = serde_json::from_slice(&object.read()).map_err(|error| {
                    Status::internal(format!("cannot read what is stored: {error}"))
                })?;
                self.document(&value, pretty)
            }
        }
    }

    /// A document, in the order of the fields of the kind that it says it is.
    pub fn document(self, value: &Value, pretty: bool) -> Result<Vec<u8>, Status> {
        Ok(match self {
            Encoding::Yaml => yaml::write(value).into_bytes(),
            // nothing ends the line of indented JSON, as in upstream
            Encoding::Json if pretty => to_pretty_json(value, node_of(value)),
            Encoding::Json => {
                let mut line = json_of(value);
                line.push(b'\n');
                line
            }
            Encoding::Protobuf => {
                let node = node_of(value).ok_or_else(|| {
                    unwritten(ProtobufError::Formless("unstructured.Unstructured".into()))
                })?;
                protobuf::encode(&to_json(value, Some(node)), node).map_err(unwritten)?
            }
        })
    }

    /// An event of a watch, of a stored object whose type is at `node`.
    pub fn event(self, what: &str, object: &Text, node: Option<Node>) -> Result<Bytes, Status> {
        match (self, node) {
            (Encoding::Protobuf, Some(node)) => {
                let object = protobuf::encode(&object.read(), node).map_err(unwritten)?;
                Ok(protobuf::event(what, &object).into())
            }
            (Encoding::Protobuf, None) => Err(unwritten(ProtobufError::Formless(
                "unstructured.Unstructured".into(),
            ))),
            _ => {
                let mut out = BytesMut::with_capacity(object.len() + 32);
                out.extend_from_slice(b"{\"type\":\"");
                out.extend_from_slice(what.as_bytes());
                out.extend_from_slice(b"\",\"object\":");
                object.put_after(0, &mut out);
                out.extend_from_slice(b"}\n");
                Ok(out.freeze())
            }
        }
    }

    /// An event of what there is when a watch begins, which others may have listed before.
    pub fn first_event(self, kind: &Kind, object: &Object, kept: &Kept) -> Result<Bytes, Status> {
        if self != Encoding::Protobuf {
            return self.event("ADDED", &object.bytes, Some(kind.node()));
        }
        let item = kept.item(object, kind.node()).map_err(unwritten)?;
        let (api_version, name) = (kind.api_version(), kind.kind.as_bytes());
        let object = protobuf::envelope(api_version.as_bytes(), name, &item);
        Ok(protobuf::event("ADDED", &object).into())
    }

    /// An event of an object that is not stored.
    pub fn event_of(self, what: &str, object: &Value) -> Result<Bytes, Status> {
        let text = Text::from(Bytes::from(json_of(object)));
        self.event(what, &text, node_of(object))
    }

    /// What was answered, as compact JSON in the order of its type; `None` where it cannot be read.
    pub fn answered(self, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
        let value = match self {
            Encoding::Json => return Some(Cow::Borrowed(bytes)),
            Encoding::Yaml => yaml::read_first(std::str::from_utf8(bytes).ok()?).ok()?.0,
            Encoding::Protobuf => decoded(bytes)?,
        };
        let node = Schema::builtin().of_kind(value.text("apiVersion"), value.text("kind"));
        Some(Cow::Owned(to_json(&value, node)))
    }
}

/// An object in its envelope, with no more fields than JSON has.
fn decoded(bytes: &[u8]) -> Option<Value> {
    let said = protobuf::unwrap(bytes).ok()?;
    let node = Schema::builtin().of_kind(&said.api_version, &said.kind)?;
    let mut value = protobuf::decode(said.raw, &node.as_type()?.name)?.ok()?;
    value["apiVersion"] = said.api_version.into();
    value["kind"] = said.kind.into();
    conform(&mut value, node).ok()?;
    Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_answered_is_read_again() {
        let pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "a", "labels": {"<": ""}}, "spec": {"containers": [{"name": "c", "resources": {}}]}, "status": {}});
        let wanted = json_of(&pod);
        for encoding in Encoding::ALL {
            let bytes = encoding.document(&pod, false).unwrap();
            let read = encoding.answered(&bytes).unwrap();
            assert_eq!(read.trim_ascii_end(), wanted, "{encoding:?}");
            let node = Schema::builtin().get("core.v1.Pod").unwrap();
            let stored = Text::from(Bytes::from(wanted.clone()));
            assert_eq!(encoding.stored(&stored, node, false).unwrap(), bytes);
        }
        assert_eq!(Encoding::Protobuf.answered(b"{}"), None);
    }

    #[test]
    fn what_has_no_form_in_protobuf() {
        let table =
            json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {}, "rows": []});
        let boat = json!({"kind": "Boat", "apiVersion": "sea.example.com/v1", "metadata": {}});
        for object in [table, boat] {
            let refused = Encoding::Protobuf.document(&object, false).unwrap_err();
            assert_eq!((refused.code, refused.reason), (406, "NotAcceptable"));
            assert!(Encoding::Protobuf.event_of("ADDED", &object).is_err());
            assert!(Encoding::Json.event_of("ADDED", &object).is_ok());
        }
    }
}
