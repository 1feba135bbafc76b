//! Messages into JSON, by the schema table.
//!
//! Invariant: what the table does not know is passed over, as protobuf wants it; lengths are checked before anything is read.
//! Follows `Unmarshal` of the `generated.pb.go` files.

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Map, Value};
use skiff_api::machinery::{
    gonum,
    schema::{Field, Or, Schema, Shape},
    time as go_time,
};

use crate::{
    error::ProtobufError,
    layout::{Layouts, Step},
    wire::{DEPTH, PREFIX},
};

type Read<T> = Result<T, ProtobufError>;

/// An object with what its envelope says of its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Unwrapped<'a> {
    pub api_version: String,
    pub kind: String,
    pub raw: &'a [u8],
}

/// Reads the envelope (`runtime.Unknown`).
pub fn unwrap(data: &[u8]) -> Read<Unwrapped<'_>> {
    let mut out = Unwrapped {
        api_version: String::new(),
        kind: String::new(),
        raw: &[],
    };
    for entry in entries(data.strip_prefix(PREFIX).ok_or(ProtobufError::Prefix)?)? {
        match entry.number {
            1 => {
                for inner in entries(entry.bytes()?)? {
                    match inner.number {
                        1 => out.api_version = inner.text()?,
                        2 => out.kind = inner.text()?,
                        _ => {}
                    }
                }
            }
            2 => out.raw = entry.bytes()?,
            _ => {}
        }
    }
    Ok(out)
}

/// Reads a message of the type `name` in the table (`core.v1.Pod`); `None` when there is no such type, or none that has a form in protobuf.
pub fn decode(raw: &[u8], name: &str) -> Option<Read<Value>> {
    let (schema, layouts) = (Schema::builtin(), Layouts::builtin());
    let index = schema.index(schema.get(name)?.as_type()?)?;
    let reader = Reader { schema, layouts };
    let formed = layouts.get(index).is_formed;
    formed.then(|| reader.message(raw, index, 0).map(Value::Object))
}

/// One field of a message as it is on the wire.
#[derive(Clone, Copy)]
struct Entry<'a> {
    number: u16,
    wire: u8,
    number_value: u64,
    data: &'a [u8],
}

impl<'a> Entry<'a> {
    fn bytes(&self) -> Read<&'a [u8]> {
        if self.wire == 2 {
            Ok(self.data)
        } else {
            Err(ProtobufError::Wire(self.number, self.wire))
        }
    }

    fn text(&self) -> Read<String> {
        std::str::from_utf8(self.bytes()?)
            .map(str::to_string)
            .map_err(|_| ProtobufError::Text(self.number))
    }

    fn integer(&self) -> Read<i64> {
        if self.wire == 0 {
            Ok(self.number_value as i64)
        } else {
            Err(ProtobufError::Wire(self.number, self.wire))
        }
    }
}

fn varint(data: &mut &[u8]) -> Read<u64> {
    let mut out = 0u64;
    for shift in (0..70).step_by(7) {
        let (byte, rest) = data.split_first().ok_or(ProtobufError::Ended)?;
        *data = rest;
        if shift < 64 {
            out |= u64::from(byte & 0x7f) << shift;
        }
        if byte & 0x80 == 0 {
            return Ok(out);
        }
    }
    Err(ProtobufError::Ended)
}

fn take<'a>(data: &mut &'a [u8], count: usize) -> Read<&'a [u8]> {
    if data.len() < count {
        return Err(ProtobufError::Ended);
    }
    let (taken, rest) = data.split_at(count);
    *data = rest;
    Ok(taken)
}

fn entries(mut data: &[u8]) -> Read<Vec<Entry<'_>>> {
    let mut out = Vec::new();
    while !data.is_empty() {
        let tag = varint(&mut data)?;
        let (number, wire) = (u16::try_from(tag >> 3).unwrap_or(u16::MAX), (tag & 7) as u8);
        let mut entry = Entry {
            number,
            wire,
            number_value: 0,
            data: &[],
        };
        match wire {
            0 => entry.number_value = varint(&mut data)?,
            1 => {
                entry.number_value =
                    u64::from_le_bytes(take(&mut data, 8)?.try_into().unwrap_or_default())
            }
            2 => {
                let length =
                    usize::try_from(varint(&mut data)?).map_err(|_| ProtobufError::Ended)?;
                entry.data = take(&mut data, length)?;
            }
            5 => {
                entry.number_value = u64::from(u32::from_le_bytes(
                    take(&mut data, 4)?.try_into().unwrap_or_default(),
                ))
            }
            other => return Err(ProtobufError::Illegal(other)),
        }
        out.push(entry);
    }
    Ok(out)
}

/// What messages are read by.
#[derive(Clone, Copy)]
struct Reader<'s> {
    schema: &'s Schema,
    layouts: &'s Layouts,
}

impl Reader<'_> {
    fn message(self, data: &[u8], index: u32, depth: usize) -> Read<Map<String, Value>> {
        if depth > DEPTH {
            return Err(ProtobufError::Depth);
        }
        let mut out = Map::new();
        self.part(data, index, &self.layouts.get(index).steps, depth, &mut out)?;
        Ok(out)
    }

    /// The fields that these steps name, and those of the structs that are embedded among them.
    fn part(
        self,
        data: &[u8],
        index: u32,
        steps: &[Step],
        depth: usize,
        out: &mut Map<String, Value>,
    ) -> Read<()> {
        for entry in entries(data)? {
            let mut rest = steps;
            while let Some((step, after)) = rest.split_first() {
                match step {
                    Step::Field {
                        number, at, around, ..
                    } if *number == entry.number => {
                        let of = &self.schema.types[index as usize];
                        let field = &of.fields[usize::from(*at)];
                        if *around {
                            let list = self.map_value(entry, &field.shape, depth)?;
                            out.insert(field.name.to_string(), list);
                        } else {
                            self.put(entry, field, depth, out)?;
                        }
                        break;
                    }
                    Step::Open { number, within } if *number == entry.number => {
                        let inner = &after[..*within];
                        self.part(entry.bytes()?, index, inner, depth + 1, out)?;
                        break;
                    }
                    Step::Open { within, .. } => rest = &after[within + 1..],
                    _ => rest = after,
                }
            }
        }
        Ok(())
    }

    fn put(
        self,
        entry: Entry<'_>,
        field: &Field,
        depth: usize,
        out: &mut Map<String, Value>,
    ) -> Read<()> {
        let name = field.name.to_string();
        match &field.shape {
            Shape::List(of) => {
                let place = out.entry(name).or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(list) = place else {
                    return Ok(());
                };
                // numbers may come packed
                if matches!(**of, Shape::Int32(_) | Shape::Int64(_)) && entry.wire == 2 {
                    let mut data = entry.data;
                    while !data.is_empty() {
                        list.push((varint(&mut data)? as i64).into());
                    }
                    return Ok(());
                }
                list.push(self.single(entry, of, depth)?);
            }
            Shape::Map(of) => {
                let (mut key, mut value) = (String::new(), empty(of));
                for inner in entries(entry.bytes()?)? {
                    match inner.number {
                        1 => key = inner.text()?,
                        2 => value = self.map_value(inner, of, depth)?,
                        _ => {}
                    }
                }
                if let Value::Object(map) =
                    out.entry(name).or_insert_with(|| Value::Object(Map::new()))
                {
                    map.insert(key, value);
                }
            }
            shape => {
                out.insert(name, self.single(entry, shape, depth)?);
            }
        }
        Ok(())
    }

    /// A list in a map is a message around its items.
    fn map_value(self, entry: Entry<'_>, of: &Shape, depth: usize) -> Read<Value> {
        match of {
            Shape::List(items) => {
                let inner = entries(entry.bytes()?)?;
                inner
                    .into_iter()
                    .filter(|inner| inner.number == 1)
                    .map(|inner| self.single(inner, items, depth + 1))
                    .collect()
            }
            _ => self.single(entry, of, depth),
        }
    }

    fn single(self, entry: Entry<'_>, of: &Shape, depth: usize) -> Read<Value> {
        Ok(match of {
            Shape::String(_) => entry.text()?.into(),
            Shape::Bool => (entry.integer()? != 0).into(),
            Shape::Int32(_) => (entry.integer()? as i32).into(),
            Shape::Int64(_) => entry.integer()?.into(),
            Shape::Float64 => f64::from_bits(entry.number_value).into(),
            Shape::Bytes => BASE64_STANDARD.encode(entry.bytes()?).into(),
            Shape::Quantity => first(entry)?
                .map_or(Ok("0".into()), |inner| inner.text())?
                .into(),
            Shape::Time => time(entry, jiff_seconds)?,
            Shape::MicroTime => time(entry, jiff_micros)?,
            Shape::Duration => {
                gonum::duration_text(first(entry)?.map_or(Ok(0), |inner| inner.integer())?).into()
            }
            Shape::IntOrString => int_or_string(entry)?,
            Shape::Raw | Shape::Json | Shape::Fields => match first(entry)? {
                Some(inner) => serde_json::from_slice(inner.bytes()?)
                    .map_err(|error| ProtobufError::Json(error.to_string()))?,
                None => Value::Null,
            },
            Shape::SchemaOr(or, of) => self.schema_or(entry, *or, of, depth)?,
            Shape::Struct(index) => {
                Value::Object(self.message(entry.bytes()?, *index, depth + 1)?)
            }
            Shape::Element(of) => self.single(entry, &of.0.shape, depth)?,
            Shape::List(_) | Shape::Map(_) => self.map_value(entry, of, depth)?,
        })
    }

    /// A schema of custom resources or what stands in its place: JSON shows only what there is.
    fn schema_or(self, entry: Entry<'_>, or: Or, of: &Shape, depth: usize) -> Read<Value> {
        let (mut one, mut several, mut allows) = (None, Vec::new(), false);
        for inner in entries(entry.bytes()?)? {
            match (inner.number, or) {
                (1, Or::Bool) => allows = inner.integer()? != 0,
                (1, _) | (2, Or::Bool) => one = Some(self.single(inner, of, depth + 1)?),
                (2, Or::Array) => several.push(self.single(inner, of, depth + 1)?),
                (2, Or::Strings) => several.push(inner.text()?.into()),
                _ => {}
            }
        }
        Ok(match or {
            _ if !several.is_empty() => several.into(),
            Or::Bool => one.unwrap_or(allows.into()),
            _ => one.unwrap_or_default(),
        })
    }
}

/// What protobuf leaves out of a map's entry.
fn empty(of: &Shape) -> Value {
    match of {
        Shape::String(_) | Shape::Bytes => "".into(),
        Shape::Bool => false.into(),
        Shape::Int32(_) | Shape::Int64(_) => 0.into(),
        Shape::Quantity => "0".into(),
        Shape::List(_) => Value::Array(Vec::new()),
        Shape::Struct(_) | Shape::Map(_) => Value::Object(Map::new()),
        _ => Value::Null,
    }
}

/// The field 1 of a message that has but this.
fn first(entry: Entry<'_>) -> Read<Option<Entry<'_>>> {
    Ok(entries(entry.bytes()?)?
        .into_iter()
        .find(|inner| inner.number == 1))
}

fn int_or_string(entry: Entry<'_>) -> Read<Value> {
    let (mut is_text, mut number, mut text) = (false, 0, String::new());
    for inner in entries(entry.bytes()?)? {
        match inner.number {
            1 => is_text = inner.integer()? == 1,
            2 => number = inner.integer()? as i32,
            3 => text = inner.text()?,
            _ => {}
        }
    }
    Ok(if is_text { text.into() } else { number.into() })
}

fn time(entry: Entry<'_>, written: fn(i64, i32) -> Option<String>) -> Read<Value> {
    let (mut seconds, mut nanos) = (0, 0);
    for inner in entries(entry.bytes()?)? {
        match inner.number {
            1 => seconds = inner.integer()?,
            2 => nanos = inner.integer()? as i32,
            _ => {}
        }
    }
    // an empty message is Go's zero time, which JSON writes as null
    if (seconds, nanos) == (0, 0) {
        return Ok(Value::Null);
    }
    Ok(written(seconds, nanos).map_or(Value::Null, Value::from))
}

fn jiff_seconds(seconds: i64, _nanos: i32) -> Option<String> {
    jiff::Timestamp::from_second(seconds)
        .ok()
        .map(go_time::seconds)
}

fn jiff_micros(seconds: i64, nanos: i32) -> Option<String> {
    jiff::Timestamp::new(seconds, nanos)
        .ok()
        .map(go_time::micros)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_no_protobuf() {
        assert_eq!(unwrap(b"{}"), Err(ProtobufError::Prefix));
        assert_eq!(unwrap(b"k8s\0\x0a\xff"), Err(ProtobufError::Ended));
        assert_eq!(
            decode(&[0x0a, 0x7f], "core.v1.Pod").unwrap(),
            Err(ProtobufError::Ended)
        );
        assert_eq!(
            decode(&[0x08, 0x01], "core.v1.Pod").unwrap(),
            Err(ProtobufError::Wire(1, 0))
        );
        assert_eq!(
            decode(&[0x0a, 0x03, 0x0a, 0x01, b'a'], "core.v1.Pod").unwrap(),
            Ok(json!({"metadata": {"name": "a"}}))
        );
    }

    /// A field that is a message, text or bytes.
    fn field(number: u8, data: impl AsRef<[u8]>) -> Vec<u8> {
        let data = data.as_ref();
        [&[number << 3 | 2, u8::try_from(data.len()).unwrap()], data].concat()
    }

    /// The same with a number past 15, whose tag takes two bytes.
    fn far_field(number: u16, data: impl AsRef<[u8]>) -> Vec<u8> {
        let tag = number << 3 | 2;
        let data = data.as_ref();
        [
            &[
                (tag & 0x7f) as u8 | 0x80,
                (tag >> 7) as u8,
                u8::try_from(data.len()).unwrap(),
            ],
            data,
        ]
        .concat()
    }

    #[test]
    fn schemas_and_what_stands_in_their_place() {
        let string = field(5, "string");
        let property =
            |name: &str, value: &[u8]| far_field(29, [field(1, name), field(2, value)].concat());
        let schema = [
            field(5, "object"),
            far_field(20, field(1, "\"a\"")),
            property("list", &far_field(24, field(1, &string))),
            property(
                "lists",
                &far_field(
                    24,
                    [field(2, &string), field(2, field(5, "integer"))].concat(),
                ),
            ),
            property("open", &far_field(30, [1 << 3, 1])),
            property("shut", &far_field(30, [1 << 3, 0])),
            property(
                "map",
                &far_field(30, [[1 << 3, 1].to_vec(), field(2, &string)].concat()),
            ),
            far_field(31, [field(1, "x"), field(2, &string)].concat()),
        ]
        .concat();
        let found = decode(&schema, "apiextensions.v1.JSONSchemaProps")
            .unwrap()
            .unwrap();
        let wanted = json!({
            "type": "object",
            "enum": ["a"],
            "properties": {
                "list": {"items": {"type": "string"}},
                "lists": {"items": [{"type": "string"}, {"type": "integer"}]},
                "open": {"additionalProperties": true},
                "shut": {"additionalProperties": false},
                "map": {"additionalProperties": {"type": "string"}},
            },
            "patternProperties": {"x": {"type": "string"}},
        });
        assert_eq!(found, wanted);
        let dependencies = far_field(32, [field(1, "a"), field(2, field(2, "b"))].concat());
        let found = decode(&dependencies, "apiextensions.v1.JSONSchemaProps")
            .unwrap()
            .unwrap();
        assert_eq!(found, json!({"dependencies": {"a": ["b"]}}));
        // `subresources.status` has no fields
        let found = decode(&field(1, ""), "apiextensions.v1.CustomResourceSubresources")
            .unwrap()
            .unwrap();
        assert_eq!(found, json!({"status": {}}));
    }
}
