//! Tables of what is stored, written from its bytes: the metadata of an object goes into its row as it is kept, and of the rest only that is read which cells
//! are made of.
//!
//! Invariant: what comes out is, byte for byte, what [`crate::respond::table`] makes of the same objects and is written of that. Who is asked for another form
//! goes there.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/response.go` (asTable).

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Map, Value};
use skiff_api::{
    kinds::{Kind, Part},
    machinery::{
        schema::{to_json, to_ordered_json},
        status::Status,
    },
};
use skiff_protobuf::{ProtobufError, Scan};
use skiff_storage::Object;

use crate::{
    encoding::Encoding,
    negotiate::{Accept, Form},
    respond::{IncludeObject, Look, table},
    stored,
};

/// The fields of a condition of a row, in their order.
const CONDITION: [&str; 4] = ["type", "status", "reason", "message"];

#[derive(Debug, thiserror::Error)]
enum Unread {
    #[error(transparent)]
    Text(#[from] ProtobufError),
    #[error(transparent)]
    Value(#[from] serde_json::Error),
    #[error("missing field `metadata`")]
    NoMetadata,
}

/// The metadata of an object as it is kept, and of the object what its row is made of.
fn shown<'t>(bytes: &'t [u8], parts: &Part) -> Result<(&'t [u8], Value), Unread> {
    let mut text = Scan::new(bytes);
    let (mut metadata, mut value) = (None, Map::new());
    text.object(|name, text| {
        if name == b"metadata" {
            let rest = text.rest();
            // what managers own is most of it, and none shows it
            let parts = parts.field(name);
            let own = fields(text, |name| {
                parts?.field(name).filter(|_| name != b"managedFields")
            })?;
            metadata = Some(&rest[..rest.len() - text.rest().len()]);
            value.insert("metadata".into(), own);
        } else if let Some(part) = parts.field(name) {
            value.insert(own_text(name), part_of(text, part)?);
        }
        Ok::<_, Unread>(())
    })?;
    text.end()?;
    Ok((metadata.ok_or(Unread::NoMetadata)?, value.into()))
}

fn own_text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// An object's fields of which `part` tells what is read.
fn fields<'p>(text: &mut Scan, part: impl Fn(&[u8]) -> Option<&'p Part>) -> Result<Value, Unread> {
    let mut fields = Map::new();
    text.object(|name, text| {
        if let Some(part) = part(name) {
            fields.insert(own_text(name), part_of(text, part)?);
        }
        Ok::<_, Unread>(())
    })?;
    Ok(fields.into())
}

fn part_of(text: &mut Scan, part: &Part) -> Result<Value, Unread> {
    match (part, text.peek()?) {
        (Part::Fields(_), b'{') => fields(text, |name| part.field(name)),
        (Part::Fields(_), b'[') => {
            let mut items = Vec::new();
            text.list(|text| {
                items.push(part_of(text, part)?);
                Ok::<_, Unread>(())
            })?;
            Ok(items.into())
        }
        _ => Ok(serde_json::from_slice(text.any()?)?),
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
    let stored: usize = objects.iter().map(|object| object.bytes.len()).sum();
    out.reserve(stored);
    let head = format!(
        ",\"object\":{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":"
    );
    let mut room = Vec::new();
    for (nth, object) in objects.iter().enumerate() {
        if let Some(why) = object.sealed() {
            return Err(Status::internal(why));
        }
        let bytes = object.bytes.read_in(&mut room);
        let (metadata, value) =
            shown(bytes, look.printer.parts()).map_err(|why| stored::unreadable(object, &why))?;
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
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(metadata);
        out.extend_from_slice(b"}}");
    }
    out.extend_from_slice(end.as_bytes());
    Ok(out)
}
