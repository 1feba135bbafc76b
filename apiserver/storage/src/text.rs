//! The bytes of an object, of which a piece may be in memory once for many objects: what their managed fields say is the same for all that
//! were written in the same way, and is a third of a pod.
//!
//! Invariant: the parts, one after the other, are the bytes that were given; where a piece is cut out is a matter of memory alone.

use std::{
    borrow::Cow,
    ops::Range,
    sync::{Arc, LazyLock, Weak},
};

use bytes::{BufMut, Bytes};
use memchr::memmem::{self, Finder};

use crate::cipher::why_sealed;

/// Canonical JSON of an object.
#[derive(Clone, Default)]
pub struct Text {
    /// All that is not shared.
    own: Bytes,
    /// Where the shared piece belongs in `own`.
    at: usize,
    shared: Option<Arc<Piece>>,
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
    /// The bytes of an object, with the piece shared that others have, too, if there is one.
    pub(crate) fn of(bytes: &[u8], pieces: &mut Pieces) -> Self {
        match alike(bytes) {
            Some(piece) => Self::sharing(bytes, piece, pieces),
            None => Bytes::copy_from_slice(bytes).into(),
        }
    }

    /// The same where the piece is known; it lies within the bytes.
    pub(crate) fn sharing(bytes: &[u8], piece: Range<usize>, pieces: &mut Pieces) -> Self {
        // One byte more than is filled, as where there is nothing to share: see `Draft::splice`.
        let mut own = Vec::with_capacity(bytes.len() - piece.len() + 1);
        own.extend_from_slice(&bytes[..piece.start]);
        own.extend_from_slice(&bytes[piece.end..]);
        Self {
            own: own.into(),
            at: piece.start,
            shared: Some(pieces.one(&bytes[piece])),
        }
    }

    /// Why there are no bytes: see [`crate::Object::sealed`].
    pub(crate) fn sealed(&self) -> Option<String> {
        why_sealed(&self.own).map(|why| why.into_owned())
    }

    pub fn len(&self) -> usize {
        self.own.len() + self.shared.as_ref().map_or(0, |piece| piece.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn parts(&self) -> [&[u8]; 3] {
        let (head, tail) = self.own.split_at(self.at);
        [
            head,
            self.shared.as_ref().map_or(&[][..], |piece| piece),
            tail,
        ]
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
pub(crate) fn alike(bytes: &[u8]) -> Option<Range<usize>> {
    const MANAGED: &[u8] = br#""managedFields":["#;
    const FIELDS: &[u8] = br#""fieldsV1":"#;
    const NEXT: &[u8] = br#",{"manager":"#;
    static FIND: LazyLock<[Finder; 2]> = LazyLock::new(|| [MANAGED, FIELDS].map(Finder::new));
    let [managed, fields] = &*FIND;
    // all of them stand in one list, and what comes after it may be long
    let first = managed.find(bytes)? + MANAGED.len();
    let last = first + memchr::memchr(b']', &bytes[first..])?;
    let mut sets = fields.find_iter(&bytes[first..last]).peekable();
    let mut longest = 0..0;
    while let Some(found) = sets.next() {
        let start = first + found + FIELDS.len();
        let end = match sets.peek() {
            Some(next) => {
                let end = first + next;
                memmem::rfind(&bytes[start..end], NEXT).map_or(end, |at| start + at)
            }
            None => last,
        };
        if end - start > longest.len() {
            longest = start..end;
        }
    }
    (longest.len() >= WORTH).then_some(longest)
}

/// Pieces that look alike, of which the last few are remembered.
const WAYS: usize = 4;
/// How many of those there are.
const SETS: usize = 64;

/// The pieces that were seen lately. It keeps none that nobody has: the bytes of a piece are allocated apart from the counts of its references,
/// which stay as long as it is remembered.
#[derive(Default)]
pub(crate) struct Pieces(Vec<[Weak<Piece>; WAYS]>);

type Piece = Box<[u8]>;

impl Pieces {
    fn one(&mut self, bytes: &[u8]) -> Arc<Piece> {
        if self.0.is_empty() {
            self.0.resize_with(SETS, Default::default);
        }
        let ways = &mut self.0[crc32fast::hash(bytes) as usize % SETS];
        let found = ways.iter().enumerate().find_map(|(place, way)| {
            let piece = way.upgrade().filter(|piece| ***piece == *bytes)?;
            Some((place, piece))
        });
        // the one seen last stands first
        match found {
            Some((place, piece)) => {
                ways[..=place].rotate_right(1);
                piece
            }
            None => {
                let piece: Arc<Piece> = Arc::new(bytes.into());
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
            let kept = Text::of(text.as_bytes(), &mut pieces);
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
