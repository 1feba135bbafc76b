//! Messages of the JSON text of objects, as gogo's marshallers write them: fields by their numbers; what is no pointer, list or map in Go even when it is
//! zero; maps by their keys.
//!
//! Invariant: the text is read once and no value is made of it. Keys of maps are sorted in the text already, as in all that [`to_json`] wrote.
//! Follows `MarshalToSizedBuffer` of the `generated.pb.go` files, and `runtime.Unknown`.
//!
//! [`to_json`]: skiff_api::machinery::schema::to_json

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use skiff_api::machinery::{
    gonum,
    schema::{Field, Node, Or, Schema, Shape},
    time,
};

use crate::{
    error::ProtobufError,
    known::{Known, Of},
    layout::{Layout, Layouts},
    scan::Scan,
    wire::{self, DEPTH, PREFIX},
};

type Wrote<T = ()> = Result<T, ProtobufError>;

/// Go's zero time, in seconds since 1970.
const ZERO_TIME: i64 = -62_135_596_800;

/// Writes objects of one type.
pub struct Writer {
    index: u32,
    room: Room,
}

/// Memory that is used again for each object.
#[derive(Default)]
struct Room {
    /// The fields of the messages that are open, innermost last: their places, and where they stand in what was written.
    fields: Vec<(u16, usize, usize)>,
    /// Fields in the order of the text, before they are put into that of their numbers.
    unsorted: Vec<u8>,
    /// Values of the objects before.
    known: Known,
    /// How many objects there were.
    objects: usize,
}

/// What the envelope of an object says of it.
#[derive(Default)]
struct Said<'t> {
    api_version: Cow<'t, [u8]>,
    kind: Cow<'t, [u8]>,
}

impl Writer {
    /// # Errors
    /// The type has no form in protobuf, as those of custom resources have none.
    pub fn new(node: Node) -> Wrote<Self> {
        let of = node.as_type().ok_or_else(|| formless("runtime.Object"))?;
        let builtin = std::ptr::eq(node.schema(), Schema::builtin());
        let index = node.schema().index(of).filter(|_| builtin);
        let formed = index.filter(|index| Layouts::builtin().get(*index).is_formed);
        Ok(Writer {
            index: formed.ok_or_else(|| formless(of.go_name()))?,
            room: Room::default(),
        })
    }

    /// Writes the object whose JSON is `text` as a field, with `number` as that of the items of a list.
    ///
    /// # Errors
    /// The text is not that of an object of the type; what was written is of no use then.
    pub fn field(&mut self, number: u16, text: &[u8], out: &mut Vec<u8>) -> Wrote {
        self.message(number, text, out).map(drop)
    }

    fn message<'t>(&mut self, number: u16, text: &'t [u8], out: &mut Vec<u8>) -> Wrote<Said<'t>> {
        self.room.fields.clear();
        self.room.objects += 1;
        if self.room.objects == 2 {
            self.room.known.begin();
        }
        let mut object = Object {
            schema: Schema::builtin(),
            layouts: Layouts::builtin(),
            text: Scan::new(text),
            out,
            room: &mut self.room,
            said: Said::default(),
            depth: 0,
            place: 0,
        };
        let from = wire::open(object.out, number);
        object.structure(self.index)?;
        object.text.end()?;
        wire::close(object.out, from);
        Ok(object.said)
    }
}

/// The way to the next field or item from another.
fn way(from: usize, to: usize) -> usize {
    from.wrapping_mul(31).wrapping_add(to + 1)
}

fn formless(name: &str) -> ProtobufError {
    ProtobufError::Formless(name.to_owned())
}

/// An object in its envelope. `text` is its JSON, `node` its type; of which kind it is stands in the text.
///
/// # Errors
/// The type has no form in protobuf, or the text is not that of such an object.
pub fn encode(text: &[u8], node: Node) -> Wrote<Vec<u8>> {
    let mut raw = Vec::with_capacity(text.len());
    let said = Writer::new(node)?.message(2, text, &mut raw)?;
    Ok(envelope(&said.api_version, &said.kind, &raw))
}

/// The envelope of an object that [`Writer::field`] has written as a field of the number 2.
pub fn envelope(api_version: &[u8], kind: &[u8], item: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(item.len() + 64);
    head(&mut out, api_version, kind);
    out.extend_from_slice(item);
    out.extend_from_slice(list_tail());
    out
}

fn head(out: &mut Vec<u8>, api_version: &[u8], kind: &[u8]) {
    out.extend_from_slice(PREFIX);
    let from = wire::open(out, 1);
    wire::bytes(out, 1, api_version);
    wire::bytes(out, 2, kind);
    wire::close(out, from);
}

/// What stands before the items of a list, which are fields of the number 2 and take `items` bytes altogether; `metadata` is the JSON of its metadata.
///
/// # Errors
/// The metadata is none of a list.
pub fn list_head(api_version: &str, kind: &str, metadata: &[u8], items: usize) -> Wrote<Vec<u8>> {
    let node = Schema::builtin().get("meta.v1.ListMeta");
    let mut first = Vec::new();
    Writer::new(node.ok_or_else(|| formless("v1.ListMeta"))?)?.field(1, metadata, &mut first)?;
    let mut out = Vec::with_capacity(first.len() + 64);
    head(&mut out, api_version.as_bytes(), kind.as_bytes());
    wire::key(&mut out, 2, wire::LENGTH);
    wire::varint(&mut out, (first.len() + items) as u64);
    out.extend_from_slice(&first);
    Ok(out)
}

/// What stands after the items of a list: the rest of its envelope, whose contents are encoded in no further way and of no further type.
pub fn list_tail() -> &'static [u8] {
    &[0x1a, 0, 0x22, 0]
}

/// A frame of a watch: an event with an object in its envelope, and before it the length of that.
pub fn event(what: &str, object: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(object.len() + 32);
    out.extend_from_slice(&[0; 4]);
    wire::bytes(&mut out, 1, what.as_bytes());
    let from = wire::open(&mut out, 2);
    wire::bytes(&mut out, 1, object);
    wire::close(&mut out, from);
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX);
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

/// An object on its way from text to message.
struct Object<'t, 'o> {
    schema: &'static Schema,
    layouts: &'static Layouts,
    text: Scan<'t>,
    out: &'o mut Vec<u8>,
    room: &'o mut Room,
    said: Said<'t>,
    depth: usize,
    /// A sum of the way to where this is: one for each item of a list.
    place: usize,
}

impl Object<'_, '_> {
    /// The fields of a struct: first as they stand in the text, then put in order among those that are absent.
    fn structure(&mut self, index: u32) -> Wrote {
        if self.depth > DEPTH {
            return Err(ProtobufError::Depth);
        }
        self.depth += 1;
        let (of, layout) = (&self.schema.types[index as usize], self.layouts.get(index));
        let (begin, first) = (self.out.len(), self.room.fields.len());
        self.text.expect(b'{')?;
        let (mut none, mut next) = (true, 0);
        while self.text.more(none, b'}')? {
            none = false;
            let name = self.text.name()?;
            let at = layout.find(of, &name, next);
            next = at.map_or(next, |at| at + 1);
            let place = at.and_then(|at| layout.place(at));
            let (Some(at), Some((place, around))) = (at, place) else {
                self.unnumbered(&name)?;
                continue;
            };
            let start = self.out.len();
            let field = &of.fields[usize::from(at)];
            match self.text.peek()? {
                // Go's nil, as if it was absent
                b'n' if self.text.null()? => {}
                b'{' | b'[' => self.large((index, at), field, around)?,
                _ => self.field(field, around)?,
            }
            if self.out.len() > start {
                self.room.fields.push((place, start, self.out.len()));
            }
        }
        self.depth -= 1;
        self.in_order(layout, begin, first);
        Ok(())
    }

    fn field(&mut self, field: &Field, around: bool) -> Wrote {
        match around {
            true => self.element(field.number, &field.shape),
            false => self.several(field.number, &field.shape),
        }
    }

    /// A field whose value is an object or a list, which an object before may have had, too.
    fn large(&mut self, of: Of, field: &Field, around: bool) -> Wrote {
        let (outer, start) = (self.place, self.out.len());
        let place = way(outer, usize::from(of.1));
        let rest = self.text.rest();
        if let Some(length) = self.room.known.write(of, place, rest, self.out) {
            self.text.pass(length);
            return Ok(());
        }
        self.place = place;
        self.field(field, around)?;
        self.place = outer;
        let length = rest.len() - self.text.rest().len();
        let written = &self.out[start..];
        self.room.known.put(of, place, &rest[..length], written);
        Ok(())
    }

    /// What has no number: of the object itself, its kind; else nothing that is known.
    fn unnumbered(&mut self, name: &[u8]) -> Wrote {
        let place = match name {
            b"kind" if self.depth == 1 => &mut self.said.kind,
            b"apiVersion" if self.depth == 1 => &mut self.said.api_version,
            _ => return self.text.any().map(drop),
        };
        if !self.text.null()? {
            *place = self.text.string()?;
        }
        Ok(())
    }

    /// Puts the fields since `first`, which were written from `begin` on, into the order of the message, among those that are absent.
    fn in_order(&mut self, layout: &Layout, begin: usize, first: usize) {
        let room = &mut *self.room;
        let fields = &mut room.fields[first..];
        let sorted = fields.is_sorted_by_key(|(place, ..)| *place);
        if !sorted {
            fields.sort_unstable_by_key(|(place, ..)| *place);
        }
        let size = layout.steps.len();
        if let Some(all) = layout.between(0, size) {
            if fields.is_empty() {
                self.out.extend_from_slice(all);
            } else if !sorted || fields.len() < size && !all.is_empty() {
                room.unsorted.clear();
                room.unsorted.extend_from_slice(&self.out[begin..]);
                self.out.truncate(begin);
                let mut done = 0;
                for &(place, start, end) in &*fields {
                    let place = usize::from(place);
                    let absent = layout.between(done, place).unwrap_or_default();
                    self.out.extend_from_slice(absent);
                    let field = &room.unsorted[start - begin..end - begin];
                    self.out.extend_from_slice(field);
                    done = place + 1;
                }
                let absent = layout.between(done, size).unwrap_or_default();
                self.out.extend_from_slice(absent);
            }
        } else {
            room.unsorted.clear();
            room.unsorted.extend_from_slice(&self.out[begin..]);
            self.out.truncate(begin);
            let mut fields = fields.iter().peekable();
            let mut place = 0;
            layout.walk(self.out, |absent, out| {
                let field = fields.next_if(|field| field.0 == place);
                place += 1;
                out.extend_from_slice(field.map_or(absent, |(_, start, end)| {
                    &room.unsorted[start - begin..end - begin]
                }));
            });
        }
        room.fields.truncate(first);
    }

    /// A field, which is as many as it has items or entries.
    fn several(&mut self, number: u16, shape: &Shape) -> Wrote {
        match shape {
            Shape::List(of) => self.items(number, of),
            Shape::Map(of) => {
                self.text.expect(b'{')?;
                let mut none = true;
                while self.text.more(none, b'}')? {
                    none = false;
                    let key = self.text.name()?;
                    let from = wire::open(self.out, number);
                    wire::bytes(self.out, 1, &key);
                    self.element(2, of)?;
                    wire::close(self.out, from);
                }
                Ok(())
            }
            _ => self.single(number, shape),
        }
    }

    fn items(&mut self, number: u16, of: &Shape) -> Wrote {
        self.text.expect(b'[')?;
        let (mut none, outer) = (true, self.place);
        while self.text.more(none, b']')? {
            none = false;
            self.place = way(self.place, 0);
            self.element(number, of)?;
        }
        self.place = outer;
        Ok(())
    }

    /// An item of a list or the value of an entry, which is written even if it is zero.
    fn element(&mut self, number: u16, of: &Shape) -> Wrote {
        match of {
            Shape::Element(of) => self.element(number, &of.0.shape),
            // a list in a map is a message around its items
            Shape::List(of) => {
                let from = wire::open(self.out, number);
                if !self.text.null()? {
                    self.items(1, of)?;
                }
                wire::close(self.out, from);
                Ok(())
            }
            _ if self.text.null()? => {
                self.layouts.zero(number, of, self.out);
                Ok(())
            }
            _ => self.single(number, of),
        }
    }

    /// One value that is not null.
    fn single(&mut self, number: u16, shape: &Shape) -> Wrote {
        match shape {
            Shape::String(_) => {
                let text = self.text.string()?;
                wire::bytes(self.out, number, &text);
            }
            Shape::Bool => wire::number(self.out, number, self.text.bool()?.into()),
            Shape::Int32(_) | Shape::Int64(_) => {
                wire::number(self.out, number, self.text.integer()?)
            }
            Shape::Float64 => {
                let float = self.text.float()?;
                wire::key(self.out, number, wire::FIXED64);
                self.out.extend_from_slice(&float.to_le_bytes());
            }
            Shape::Bytes => {
                let (unfit, text) = (self.text.unfit(), self.text.string()?);
                let from = wire::open(self.out, number);
                let read = BASE64_STANDARD.decode_vec(&text, self.out);
                read.map_err(|_| unfit)?;
                wire::close(self.out, from);
            }
            Shape::Struct(index) => {
                let from = wire::open(self.out, number);
                self.structure(*index)?;
                wire::close(self.out, from);
            }
            Shape::Element(of) => self.single(number, &of.0.shape)?,
            Shape::List(_) | Shape::Map(_) => return Err(self.text.unfit()),
            _ => {
                let from = wire::open(self.out, number);
                self.wrapped(shape)?;
                wire::close(self.out, from);
            }
        }
        Ok(())
    }

    /// The contents of a message that is one value in JSON.
    fn wrapped(&mut self, shape: &Shape) -> Wrote {
        match shape {
            Shape::Quantity => {
                let text = self.text.string()?;
                wire::bytes(self.out, 1, &text);
            }
            Shape::Time | Shape::MicroTime => {
                let (unfit, text) = (self.text.unfit(), self.text.text()?);
                let (seconds, nanos) = time::since_epoch(&text).map_err(|_| unfit)?;
                if (seconds, nanos) != (ZERO_TIME, 0) {
                    let nanos = if *shape == Shape::Time { 0 } else { nanos };
                    wire::number(self.out, 1, seconds);
                    wire::number(self.out, 2, nanos.into());
                }
            }
            Shape::Duration => {
                let (unfit, text) = (self.text.unfit(), self.text.text()?);
                let nanos = gonum::duration(&text).map_err(|_| unfit)?;
                wire::number(self.out, 1, nanos);
            }
            Shape::IntOrString => {
                let (number, text) = match self.text.peek()? {
                    b'"' => (0, Some(self.text.string()?)),
                    _ => (self.text.integer()?, None),
                };
                wire::number(self.out, 1, text.is_some().into());
                wire::number(self.out, 2, number);
                wire::bytes(self.out, 3, &text.unwrap_or_default());
            }
            Shape::SchemaOr(or, of) => self.schema_or(*or, of)?,
            _ => wire::bytes(self.out, 1, self.text.any()?),
        }
        Ok(())
    }

    /// A schema of custom resources or what stands in its place.
    fn schema_or(&mut self, or: Or, of: &Shape) -> Wrote {
        match (or, self.text.peek()?) {
            (Or::Bool, b'{') => {
                wire::number(self.out, 1, 1);
                self.single(2, of)
            }
            (Or::Bool, _) => {
                let allows = self.text.bool()?;
                wire::number(self.out, 1, allows.into());
                Ok(())
            }
            (_, b'{') => self.single(1, of),
            (Or::Array, _) => self.items(2, of),
            (Or::Strings, _) => self.items(2, &Shape::String(None)),
        }
    }
}
