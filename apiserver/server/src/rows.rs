//! Tables of what is stored, written from its bytes: the metadata of an object goes into its row as it is kept, and of the rest only that is read which cells
//! are made of.
//!
//! Invariant: what comes out is, byte for byte, what [`crate::respond::table`] makes of the same objects and is written of that. Who is asked for another form
//! goes there.
//! Follows `staging/src/k8s.io/apiserver/pkg/endpoints/handlers/response.go` (asTable).

use std::{collections::BTreeMap, sync::Arc};

use jiff::Timestamp;
use serde::de::Error as _;
use serde_json::{Value, value::RawValue};
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

/// Fields as they are written.
type Fields<'a> = BTreeMap<&'a str, &'a RawValue>;

fn read(fields: Fields<'_>) -> serde_json::Result<Value> {
    let read = |(name, raw): (&str, &RawValue)| {
        serde_json::from_str(raw.get()).map(|value: Value| (name.to_owned(), value))
    };
    fields.into_iter().map(read).collect()
}

/// The metadata of an object as it is kept, and the object as cells read it: without what managers own, which is most of it and which none shows.
fn shown(bytes: &[u8]) -> serde_json::Result<(&RawValue, Value)> {
    let mut fields: Fields = serde_json::from_slice(bytes)?;
    let metadata = fields.remove("metadata");
    let metadata = metadata.ok_or_else(|| serde_json::Error::missing_field("metadata"))?;
    let mut own: Fields = serde_json::from_str(metadata.get())?;
    own.remove("managedFields");
    let mut value = read(fields)?;
    value["metadata"] = read(own)?;
    Ok((metadata, value))
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
    let head = format!(
        ",\"object\":{{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"meta.k8s.io/{version}\",\"metadata\":"
    );
    for (nth, object) in objects.iter().enumerate() {
        if let Some(why) = object.sealed() {
            return Err(Status::internal(why));
        }
        let bytes = object.bytes.read();
        let (metadata, value) = shown(&bytes).map_err(|why| stored::unreadable(object, &why))?;
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
        out.extend_from_slice(metadata.get().as_bytes());
        out.extend_from_slice(b"}}");
    }
    out.extend_from_slice(end.as_bytes());
    Ok(out)
}
