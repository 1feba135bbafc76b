//! The bytes of an object, of which a piece may be in memory once for many objects: what their managed fields say is the same for all that
//! were written in the same way, and is a third of a pod.
//!
//! Invariant: the parts, one after the other, are the bytes that were given; where a piece is cut out is a matter of memory alone.

use std::{
    borrow::Cow,
    sync::{Arc, Weak},
};

use bytes::{BufMut, Bytes};
use memchr::memmem;

/// Canonical JSON of an object.
#[derive(Clone, Default)]
pub struct Text {
    /// All that is not shared.
    own: Bytes,
    /// Where the shared piece belongs in `own`.
    at: usize,
    shared: Option<Arc<[u8]>>,
}

impl From<Bytes> for Text {
    fn from(own: Bytes) -> Self {
        Self {
            own,
            ..Self::default()
        }
    }
}

impl Text {
    /// The bytes with the piece shared that others have, too, if there is one.
    pub(crate) fn sharing(bytes: Vec<u8>, pieces: &mut Pieces) -> Self {
        let Some((at, end)) = alike(&bytes) else {
            return Bytes::from(bytes).into();
        };
        // One byte more than is filled, as where there is nothing to share: see `Draft::splice`.
        let mut own = Vec::with_capacity(bytes.len() - (end - at) + 1);
        own.extend_from_slice(&bytes[..at]);
        own.extend_from_slice(&bytes[end..]);
        Self {
            own: own.into(),
            at,
            shared: Some(pieces.one(&bytes[at..end])),
        }
    }

    pub fn len(&self) -> usize {
        self.own.len() + self.shared.as_ref().map_or(0, |piece| piece.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn parts(&self) -> [&[u8]; 3] {
        let (head, tail) = self.own.split_at(self.at);
        [head, self.shared.as_deref().unwrap_or_default(), tail]
    }

    /// All bytes in one piece; copied where one is shared.
    pub fn whole(&self) -> Bytes {
        match self.shared {
            None => self.own.clone(),
            Some(_) => self.parts().concat().into(),
        }
    }

    /// The same to be looked at.
    pub fn read(&self) -> Cow<'_, [u8]> {
        match self.shared {
            None => Cow::Borrowed(&self.own),
            Some(_) => Cow::Owned(self.parts().concat()),
        }
    }

    /// Writes all bytes but the first `skip`.
    pub fn put_after(&self, skip: usize, out: &mut impl BufMut) {
        let mut skip = skip;
        for part in self.parts() {
            let skipped = skip.min(part.len());
            skip -= skipped;
            out.put_slice(&part[skipped..]);
        }
    }
}

/// A piece below this size is not worth a count of references and a place.
const WORTH: usize = 256;

/// The longest set of fields that somebody manages. It ends about there: what else is in it costs nothing but a chance to be shared.
fn alike(bytes: &[u8]) -> Option<(usize, usize)> {
    const FIELDS: &[u8] = br#""fieldsV1":"#;
    let sets = memmem::find_iter(bytes, FIELDS).map(|found| {
        let at = found + FIELDS.len();
        let length = memchr::memchr(b']', &bytes[at..]).unwrap_or(0);
        let next = memmem::find(&bytes[at..at + length], br#",{"manager":"#);
        (at, at + next.unwrap_or(length))
    });
    sets.filter(|(at, end)| end - at >= WORTH)
        .max_by_key(|(at, end)| end - at)
}

/// Pieces that look alike, of which the last few are remembered.
const WAYS: usize = 4;
/// How many of those there are.
const SETS: usize = 64;

/// The pieces that were seen lately. It keeps none that nobody has.
#[derive(Default)]
pub(crate) struct Pieces(Vec<[Weak<[u8]>; WAYS]>);

impl Pieces {
    fn one(&mut self, bytes: &[u8]) -> Arc<[u8]> {
        if self.0.is_empty() {
            let none = || -> Weak<[u8]> { Weak::<[u8; 0]>::new() };
            self.0.resize_with(SETS, || std::array::from_fn(|_| none()));
        }
        let ways = &mut self.0[crc32fast::hash(bytes) as usize % SETS];
        let found = ways.iter().enumerate().find_map(|(place, way)| {
            let piece = way.upgrade().filter(|piece| **piece == *bytes)?;
            Some((place, piece))
        });
        // the one seen last stands first
        match found {
            Some((place, piece)) => {
                ways[..=place].rotate_right(1);
                piece
            }
            None => {
                let piece: Arc<[u8]> = bytes.into();
                ways.rotate_right(1);
                ways[0] = Arc::downgrade(&piece);
                piece
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(name: &str, fields: &str, tail: &str) -> String {
        format!(
            r#"{{"metadata":{{"name":"{name}","managedFields":[{{"manager":"a","fieldsV1":{{"f:b":{{}}}}}},{{"manager":"c","fieldsV1":{fields},"subresource":"status"}}]}}{tail}}}"#
        )
    }

    #[test]
    fn what_was_given_is_read_and_equal_fields_are_one() {
        let fields = format!(r#"{{"f:{}":{{}}}}"#, "x".repeat(300));
        let short = r#"{"f:y":{}}"#.to_string();
        let odd = format!(r#"{{"k:{{\"]\":\"{}"#, "z".repeat(300));
        let mut pieces = Pieces::default();
        let mut texts = Vec::new();
        for text in [
            object("one", &fields, ""),
            object("two", &fields, r#","spec":["ä"]"#),
            object("three", &short, ""),
            object("four", &odd, r#","spec":[1]"#),
            format!(r#""fieldsV1":{}"#, "w".repeat(300)),
            String::new(),
        ] {
            let kept = Text::sharing(text.clone().into_bytes(), &mut pieces);
            assert_eq!(kept.whole(), text.as_bytes());
            assert_eq!(&*kept.read(), text.as_bytes());
            assert_eq!((kept.len(), kept.is_empty()), (text.len(), text.is_empty()));
            for skip in [0, 1, text.len() / 2, text.len()] {
                let mut out = Vec::new();
                kept.put_after(skip.min(text.len()), &mut out);
                assert_eq!(out, &text.as_bytes()[skip.min(text.len())..], "{skip}");
            }
            texts.push(kept);
        }
        let shared: Vec<_> = texts.iter().map(|text| text.shared.as_ref()).collect();
        assert!(
            matches!(shared[..2], [Some(one), Some(two)] if Arc::ptr_eq(one, two) && one.len() > 300)
        );
        assert!(shared[2].is_none() && shared[4].is_none() && shared[5].is_none());
        let gone = Arc::downgrade(shared[0].unwrap());
        texts.clear();
        assert!(gone.upgrade().is_none(), "nobody has it any more");
    }
}
