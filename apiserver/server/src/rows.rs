//! Tables of what is stored, written from its bytes: the metadata of an object goes into its row as it is kept, and of the rest only that is read which cells
//! are made of.
//!
//! Invariant: what comes out is, byte for byte, what [`crate::respond::table`] makes of the same objects and is written of that. Who is asked for another form
//! goes there.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/response.go` (asTable).

use std::{fmt, sync::Arc};

use jiff::Timestamp;
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};
use serde_json::{Map, Value, value::RawValue};
use skiff_api::{
    kinds::Kind,
    machinery::{
        schema::{to_json, to_ordered_json},
        status::Status,
    },
};
use skiff_storage::Object;

use crate::{
    encoding::Encoding,
    negotiate::{Accept, Form},
    respond::{IncludeObject, Look, table},
    stored,
};

/// The fields of a condition of a row, in their order.
const CONDITION: [&str; 4] = ["type", "status", "reason", "message"];

/// Of an object what a row shows: its metadata as it is kept, and the object as cells read it.
struct Shown<'a> {
    metadata: &'a RawValue,
    value: Value,
}

impl<'de> Deserialize<'de> for Shown<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Shown<'de>;

            fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
                to.write_str("an object with metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Shown<'de>, A::Error> {
                use serde::de::Error;
                let (mut metadata, mut value) = (None, Map::new());
                while let Some(key) = map.next_key::<&str>()? {
                    if key == "metadata" {
                        let raw: &RawValue = map.next_value()?;
                        let Read(read) = serde_json::from_str(raw.get()).map_err(Error::custom)?;
                        value.insert(key.into(), read);
                        metadata = Some(raw);
                    } else {
                        value.insert(key.into(), map.next_value()?);
                    }
                }
                Ok(Shown {
                    metadata: metadata.ok_or_else(|| Error::missing_field("metadata"))?,
                    value: value.into(),
                })
            }
        }
        from.deserialize_map(Fields)
    }
}

/// Metadata without what managers own, which no cell shows and which is most of it.
struct Read(Value);

impl<'de> Deserialize<'de> for Read {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Read;

            fn expecting(&self, to: &mut fmt::Formatter) -> fmt::Result {
                to.write_str("metadata")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
                let mut value = Map::new();
                while let Some(key) = map.next_key::<&str>()? {
                    if key == "managedFields" {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        value.insert(key.into(), map.next_value()?);
                    }
                }
                Ok(Read(value.into()))
            }
        }
        from.deserialize_map(Fields)
    }
}

/// Whether the rows of these objects can be written from their bytes, in the form that is asked for.
pub fn fit(
    accept: &Accept,
    pretty: bool,
    include: IncludeObject,
    kind: &Kind,
    objects: &[Arc<Object>],
) -> bool {
    matches!(accept.form, Form::Table(_))
        && accept.encoding == Encoding::Json
        && !pretty
        && include == IncludeObject::Metadata
        // what custom objects have is kept in another order than that of their metadata's type
        && !kind.flags.untyped
        && Look::of(kind).annotations.is_empty()
        && objects.iter().all(|object| kind.shows_as_stored(object.revision))
}

/// The table, in the version `meta.k8s.io/VERSION`.
///
/// # Errors
/// An object that cannot be read.
pub fn written(
    kind: &Kind,
    version: &str,
    metadata: Value,
    objects: &[Arc<Object>],
    now: Timestamp,
) -> Result<Vec<u8>, Status> {
    let (look, end) = (Look::of(kind), "]}\n");
    let mut out = Encoding::Json.document(
        &table(&kind.printer, version, metadata, Vec::new(), true),
        false,
    )?;
    if !out.ends_with(b"\"rows\":[]}\n") {
        return Err(Status::internal("a table does not end with its rows"));
    }
    out.truncate(out.len() - end.len());
    for (nth, object) in objects.iter().enumerate() {
        if let Some(why) = object.sealed() {
            return Err(Status::internal(why));
        }
        let bytes = object.bytes.read();
        let Shown { metadata, value } =
            serde_json::from_slice(&bytes).map_err(|why| stored::unreadable(object, &why))?;
        let cells = look.printer.cells(&value, now).into();
        let conditions = (look.conditions)(&value);
        if nth > 0 {
            out.push(b',');
        }
        out.extend_from_slice(b"{\"cells\":");
        out.append(&mut to_json(&cells, None));
        if !conditions.is_empty() {
            out.extend_from_slice(b",\"conditions\":");
            out.append(&mut to_ordered_json(&conditions.into(), &CONDITION, false));
        }
        let head = format!(
            ",\"object\":{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":"
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(metadata.get().as_bytes());
        out.extend_from_slice(b"}}");
    }
    out.extend_from_slice(end.as_bytes());
    Ok(out)
}
