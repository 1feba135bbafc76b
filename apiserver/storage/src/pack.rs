//! Events that are no longer recent, pressed: whoever still asks for them is rare, and they are most of what a store holds after a burst.
//!
//! Invariant: what is opened is what was packed, objects that were one are one again. Only this process ever reads a pack.
//! Objects that are present are held anyway: a pack points at them, and is packed again when they no longer are.

use std::{borrow::Cow, collections::HashMap, io::Write, sync::Arc};

use bytes::Bytes;
use flate2::{Compression, write::DeflateDecoder, write::DeflateEncoder};
use parking_lot::Mutex;

use crate::{
    Attributes, Event, EventKind, Key, Object,
    codec::{Damage, part, put, text},
};

/// Some consecutive events of one resource.
pub(crate) struct Pack {
    revisions: Box<[u64]>,
    present: Box<[Arc<Object>]>,
    pressed: Box<[u8]>,
    /// Of the bytes when opened.
    length: usize,
    /// As it was opened lately: many that lag ask for the same at once, and are to share it.
    opened: Mutex<Option<Arc<[Arc<Event>]>>>,
}

/// Fewer bytes than these are kept as they are.
const WORTH: usize = 8 << 10;

/// Into memory, which cannot fail.
fn deflated(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::fast());
    encoder
        .write_all(bytes)
        .and_then(|()| encoder.finish())
        .unwrap_or_default()
}

fn inflated(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut decoder = DeflateDecoder::new(Vec::with_capacity(length));
    decoder
        .write_all(bytes)
        .and_then(|()| decoder.finish())
        .unwrap_or_default()
}

const KINDS: [EventKind; 3] = [EventKind::Added, EventKind::Modified, EventKind::Deleted];

impl Pack {
    /// Takes a while: some ten milliseconds a megabyte.
    pub fn of(events: &[Arc<Event>], is_present: IsPresent<'_>) -> Self {
        let mut objects = Objects {
            is_present,
            places: HashMap::new(),
            present: Vec::new(),
            bytes: Vec::new(),
        };
        let mut tail = Vec::new();
        for event in events {
            tail.push(
                KINDS
                    .iter()
                    .position(|kind| *kind == event.kind)
                    .unwrap_or_default() as u8,
            );
            tail.extend_from_slice(&objects.place(&event.object).to_le_bytes());
            let previous = event
                .previous
                .as_ref()
                .map_or(u32::MAX, |previous| objects.place(previous));
            tail.extend_from_slice(&previous.to_le_bytes());
        }
        let mut bytes = (objects.places.len() as u32).to_le_bytes().to_vec();
        bytes.append(&mut objects.bytes);
        bytes.append(&mut tail);
        let length = bytes.len();
        let pressed = if length < WORTH {
            bytes
        } else {
            deflated(&bytes)
        };
        let revisions = events.iter().map(|event| event.revision).collect();
        Self {
            revisions,
            present: objects.present.into(),
            pressed: pressed.into(),
            length,
            opened: Mutex::default(),
        }
    }

    /// Of the events, in ascending order.
    pub fn revisions(&self) -> &[u64] {
        &self.revisions
    }

    /// The events, of `resource`.
    pub fn open(&self, resource: &Arc<str>) -> Arc<[Arc<Event>]> {
        let mut opened = self.opened.lock();
        if let Some(events) = &*opened {
            return events.clone();
        }
        let bytes = if self.length < WORTH {
            Cow::Borrowed(&*self.pressed)
        } else {
            Cow::Owned(inflated(&self.pressed, self.length))
        };
        let events: Arc<[Arc<Event>]> = self
            .read(&bytes, resource)
            .expect("memory holds what was packed")
            .into();
        *opened = Some(events.clone());
        events
    }

    /// Forgets what was opened, as nobody asked for it lately.
    pub fn close(&self) {
        *self.opened.lock() = None;
    }

    fn read(&self, mut bytes: &[u8], resource: &Arc<str>) -> Result<Vec<Arc<Event>>, Damage> {
        let rest = &mut bytes;
        let count = number(rest)?;
        let mut present = self.present.iter().cloned();
        let one = |_| match array(rest)? {
            [0] => object(rest, resource),
            _ => present
                .next()
                .ok_or(Damage::Pack("a present object is missing")),
        };
        let objects = (0..count).map(one).collect::<Result<Vec<_>, _>>()?;
        let at = |place: u32| objects.get(place as usize).cloned();
        let event = |revision: &u64| {
            let [kind] = array(rest)?;
            let (object, previous) = (number(rest)?, number(rest)?);
            let kind = KINDS
                .get(usize::from(kind))
                .ok_or(Damage::Pack("a kind is unknown"))?;
            let object = at(object).ok_or(Damage::Pack("an object is missing"))?;
            let event = Event::new(*kind, object, at(previous));
            debug_assert_eq!(event.revision, *revision);
            event.cool();
            Ok(Arc::new(event))
        };
        self.revisions.iter().map(event).collect()
    }
}

/// Whether that very version of an object is the present one.
pub(crate) type IsPresent<'a> = &'a dyn Fn(&Arc<Object>) -> bool;

/// The objects of a pack, each once.
struct Objects<'a> {
    is_present: IsPresent<'a>,
    present: Vec<Arc<Object>>,
    places: HashMap<*const Object, u32>,
    bytes: Vec<u8>,
}

impl Objects<'_> {
    fn place(&mut self, object: &Arc<Object>) -> u32 {
        let next = self.places.len() as u32;
        let place = *self.places.entry(Arc::as_ptr(object)).or_insert(next);
        if place == next {
            let is_present = (self.is_present)(object);
            self.bytes.push(is_present.into());
            if is_present {
                self.present.push(object.clone());
            } else {
                self.put(object);
            }
        }
        place
    }

    fn put(&mut self, object: &Object) {
        let attributes = object.attributes();
        self.bytes.extend_from_slice(&object.revision.to_le_bytes());
        self.bytes.push(attributes.deleting.into());
        let Key {
            namespace, name, ..
        } = &object.key;
        for part in [
            namespace.as_bytes(),
            name.as_bytes(),
            &*object.bytes.read(),
            attributes.raw(),
        ] {
            put(&mut self.bytes, part);
        }
    }
}

fn object(rest: &mut &[u8], resource: &Arc<str>) -> Result<Arc<Object>, Damage> {
    let revision = u64::from_le_bytes(array(rest)?);
    let [deleting] = array(rest)?;
    let (namespace, name) = (text(rest)?.into(), text(rest)?.into());
    let bytes = Bytes::copy_from_slice(part(rest)?);
    let attributes = Attributes::of_raw(deleting != 0, part(rest)?);
    Ok(Arc::new(Object::new(
        Key {
            resource: resource.clone(),
            namespace,
            name,
        },
        revision,
        bytes,
        attributes,
    )))
}

fn number(rest: &mut &[u8]) -> Result<u32, Damage> {
    Ok(u32::from_le_bytes(array(rest)?))
}

fn array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Damage> {
    let (array, tail) = rest
        .split_first_chunk::<N>()
        .ok_or(Damage::CutOff("a pack"))?;
    *rest = tail;
    Ok(*array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(revision: u64, bytes: &str, deleting: bool) -> Arc<Object> {
        let key = Key {
            resource: "pods".into(),
            namespace: "ns".into(),
            name: "a".into(),
        };
        let attributes = Attributes::new(
            deleting,
            "u",
            [("app", "ä"), ("", "")],
            [("spec.nodeName", "n")],
        );
        Arc::new(Object::new(
            key,
            revision,
            bytes.to_owned().into(),
            attributes,
        ))
    }

    #[test]
    fn what_is_opened_is_what_was_packed() {
        let (one, two, last) = (
            object(2, "one", false),
            object(5, &"two".repeat(5000), true),
            object(9, "", true),
        );
        let events = [
            Event::new(EventKind::Added, one.clone(), None),
            Event::new(EventKind::Modified, two.clone(), Some(one)),
            Event::new(EventKind::Deleted, last, Some(two)),
        ];
        let events = events.map(Arc::new);
        let pack = Pack::of(&events, &|_| false);
        assert_eq!(pack.revisions(), [2, 5, 9]);
        assert!(pack.pressed.len() < 400, "{}", pack.pressed.len());
        let resource: Arc<str> = "pods".into();
        let opened = pack.open(&resource);
        assert!(
            Arc::ptr_eq(&opened, &pack.open(&resource)),
            "who asks for it next shares it"
        );
        pack.close();
        assert!(!Arc::ptr_eq(&opened, &pack.open(&resource)));
        assert!(
            Arc::ptr_eq(&opened[0].object, opened[1].previous.as_ref().unwrap()),
            "one object is one again"
        );
        for (event, opened) in events.iter().zip(opened.iter()) {
            let facts = |object: &Object| {
                (
                    object.key.clone(),
                    object.revision,
                    object.bytes.whole(),
                    object.attributes().clone(),
                )
            };
            assert_eq!(
                (event.kind, event.revision, facts(&event.object)),
                (opened.kind, opened.revision, facts(&opened.object))
            );
            assert_eq!(
                event.previous.as_deref().map(facts),
                opened.previous.as_deref().map(facts)
            );
        }
        assert!(Pack::of(&[], &|_| false).open(&resource).is_empty());
        let present = |object: &Arc<Object>| object.revision == 5;
        let pointing = Pack::of(&events, &present);
        assert!(
            Arc::ptr_eq(&pointing.open(&resource)[1].object, &events[1].object)
                && pack.present.is_empty()
        );
    }
}
