//! The bytes of an object, of which a piece may be in memory once for many objects: what their managed fields say is the same for all that
//! were written in the same way, and is a third of a pod; and what the pods of one owner are to be is the same but for a few letters.
//!
//! Invariant: the parts, one after the other, are the bytes that were given; where a piece is cut out is a matter of memory alone.

use std::{
    borrow::Cow,
    ops::Range,
    sync::{Arc, LazyLock, Weak},
};

use bytes::{BufMut, Bytes};
use memchr::{
    memchr,
    memmem::{self, Finder},
};

use crate::cipher::why_sealed;

/// Canonical JSON of an object.
#[derive(Clone, Default)]
pub struct Text {
    /// All that is not shared: what is before the shared piece, what fills its holes, and what is after it.
    own: Bytes,
    /// Where the shared piece belongs in `own`.
    at: usize,
    shared: Option<Arc<Piece>>,
}

/// Bytes that several objects have, but for what stands in its holes.
struct Piece {
    bytes: Box<[u8]>,
    holes: Box<[Hole]>,
}

#[derive(Clone, Copy)]
struct Hole {
    /// Where it is in the bytes that are shared.
    at: u32,
    length: u32,
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
        match Outline::of(bytes) {
            Some(outline) => Self::sharing(bytes, &outline, pieces),
            None => Self::alone([bytes]),
        }
    }

    /// The same where it is known what others may have.
    pub(crate) fn sharing(bytes: &[u8], outline: &Outline, pieces: &mut Pieces) -> Self {
        let spec = outline.spec.as_ref();
        let spec = spec.and_then(|cut| Some((cut, pieces.if_seen(cut, bytes)?)));
        let fields = || Some(&outline.fields).filter(|cut| cut.range.len() >= WORTH);
        let found = spec.or_else(|| fields().map(|cut| (cut, pieces.one(cut, bytes))));
        let Some((cut, shared)) = found else {
            return Self::alone([bytes]);
        };
        let head = std::iter::once(&bytes[..cut.range.start]);
        let fillings = cut.holes.iter().map(|hole| &bytes[hole.clone()]);
        let tail = std::iter::once(&bytes[cut.range.end..]);
        Self {
            at: cut.range.start,
            shared: Some(shared),
            ..Self::alone(head.chain(fillings).chain(tail))
        }
    }

    /// Bytes that nobody else has, from parts.
    pub(crate) fn alone<'b>(parts: impl IntoIterator<Item = &'b [u8], IntoIter: Clone>) -> Self {
        let parts = parts.into_iter();
        let length: usize = parts.clone().map(<[u8]>::len).sum();
        // One byte more than is filled: then the count of references is made here, once, and not by the first thread that shares the
        // bytes, in whose part of the heap it would hold a page as long as the object lives.
        let mut own = Vec::with_capacity(length + 1);
        parts.for_each(|part| own.extend_from_slice(part));
        Bytes::from(own).into()
    }

    /// Why there are no bytes: see [`crate::Object::sealed`].
    pub(crate) fn sealed(&self) -> Option<String> {
        why_sealed(&self.own).map(|why| why.into_owned())
    }

    pub fn len(&self) -> usize {
        self.own.len() + self.shared.as_ref().map_or(0, |piece| piece.bytes.len())
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands out all bytes, part by part.
    fn each_part<'t>(&'t self, mut take: impl FnMut(&'t [u8])) {
        let Some(piece) = &self.shared else {
            return take(&self.own);
        };
        let (head, mut own) = self.own.split_at(self.at);
        take(head);
        let mut given = 0;
        for hole in &piece.holes {
            take(&piece.bytes[given..hole.at as usize]);
            given = hole.at as usize;
            let (filling, rest) = own.split_at(hole.length as usize);
            take(filling);
            own = rest;
        }
        take(&piece.bytes[given..]);
        take(own);
    }

    fn joined(&self) -> Vec<u8> {
        let mut all = Vec::with_capacity(self.len());
        self.each_part(|part| all.extend_from_slice(part));
        all
    }

    /// All bytes in one piece; copied where one is shared.
    pub fn whole(&self) -> Bytes {
        match self.shared {
            None => self.own.clone(),
            Some(_) => self.joined().into(),
        }
    }

    /// The same to be looked at.
    pub fn read(&self) -> Cow<'_, [u8]> {
        match self.shared {
            None => Cow::Borrowed(&self.own),
            Some(_) => Cow::Owned(self.joined()),
        }
    }

    /// The same for who reads many: what has to be put together is put into `room`, which may be used again.
    pub fn read_in<'t>(&'t self, room: &'t mut Vec<u8>) -> &'t [u8] {
        if self.shared.is_none() {
            return &self.own;
        }
        room.clear();
        self.each_part(|part| room.extend_from_slice(part));
        room
    }

    /// Writes all bytes but the first `skip`.
    pub fn put_after(&self, skip: usize, out: &mut impl BufMut) {
        let mut skip = skip;
        self.each_part(|part| {
            let skipped = skip.min(part.len());
            skip -= skipped;
            out.put_slice(&part[skipped..]);
        });
    }
}

/// A piece below this size is not worth a count of references and a place.
const WORTH: usize = 256;

/// What others may have of an object's bytes, too, and what within that is its own.
#[derive(Clone, Debug, PartialEq)]
struct Cut {
    range: Range<usize>,
    /// In their order.
    holes: Vec<Range<usize>>,
}

impl Cut {
    /// What is between the holes.
    fn segments<'b>(&'b self, bytes: &'b [u8]) -> impl Iterator<Item = &'b [u8]> {
        let starts = std::iter::once(self.range.start).chain(self.holes.iter().map(|of| of.end));
        let ends = self.holes.iter().map(|of| of.start);
        let ends = ends.chain(std::iter::once(self.range.end));
        starts.zip(ends).map(|(start, end)| &bytes[start..end])
    }

    /// A sum of the bytes without the holes.
    fn sum(&self, bytes: &[u8]) -> u32 {
        let mut hasher = crc32fast::Hasher::new();
        self.segments(bytes)
            .for_each(|segment| hasher.update(segment));
        hasher.finalize()
    }

    /// Whether a piece is what this would cut out. Nothing is copied for that: what comes and goes with each object would leave gaps between those that stay.
    fn is(&self, piece: &Piece, bytes: &[u8]) -> bool {
        let mut rest = &*piece.bytes;
        let mut lengths = piece.holes.iter().map(|hole| hole.length as usize);
        let holes = self.holes.iter().map(Range::len);
        let mut at = piece.holes.iter().map(|hole| hole.at as usize);
        holes.eq(lengths.by_ref())
            && self.segments(bytes).all(|segment| {
                let Some(left) = rest.strip_prefix(segment) else {
                    return false;
                };
                rest = left;
                let given = piece.bytes.len() - rest.len();
                at.next().is_none_or(|at| at == given)
            })
            && rest.is_empty()
    }

    /// The bytes without the holes.
    fn piece(&self, bytes: &[u8]) -> Piece {
        let shared: Vec<&[u8]> = self.segments(bytes).collect();
        let mut at = 0;
        let holes = self.holes.iter().zip(&shared).map(|(hole, before)| {
            at += before.len();
            Hole {
                at: at as u32,
                length: hole.len() as u32,
            }
        });
        Piece {
            holes: holes.collect(),
            bytes: shared.concat().into(),
        }
    }

    /// The same some bytes further on.
    fn moved(&self, by: usize) -> Cut {
        let moved = |range: &Range<usize>| range.start + by..range.end + by;
        Cut {
            range: moved(&self.range),
            holes: self.holes.iter().map(moved).collect(),
        }
    }
}

/// Where in an object's bytes stands what others may have, too.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Outline {
    /// The longest set of fields that somebody manages. It ends about there: what else is in it costs nothing but a chance to be shared.
    fields: Cut,
    /// All that is managed and the whole spec, but for times and the random end of a token's volume: the pods of one owner have that.
    spec: Option<Cut>,
}

impl Outline {
    /// Looks for it; an object without managed fields has nothing that is worth it.
    pub fn of(bytes: &[u8]) -> Option<Outline> {
        const MANAGED: &[u8] = br#""managedFields":["#;
        const FIELDS: &[u8] = br#""fieldsV1":"#;
        const NEXT: &[u8] = br#",{"manager":"#;
        static FIND: LazyLock<[Finder; 2]> = LazyLock::new(|| [MANAGED, FIELDS].map(Finder::new));
        let [managed, fields] = &*FIND;
        // all of them stand in one list, and what comes after it may be long
        let first = managed.find(bytes)? + MANAGED.len();
        let last = first + memchr(b']', &bytes[first..])?;
        let mut sets = fields.find_iter(&bytes[first..last]).peekable();
        let mut longest = first..first;
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
        Some(Outline {
            fields: Cut {
                range: longest,
                holes: Vec::new(),
            },
            spec: spec(bytes, first, last),
        })
    }

    /// The same once the revision was put in at a place, by so many digits; none if it stands within.
    pub fn spliced(&self, revision_at: usize, digits: usize) -> Option<Outline> {
        let of = |cut: &Cut| match revision_at <= cut.range.start {
            true => Some(cut.moved(digits)),
            false => (cut.range.end <= revision_at).then(|| cut.clone()),
        };
        Some(Outline {
            fields: of(&self.fields)?,
            spec: self.spec.as_ref().and_then(of),
        })
    }
}

/// From the managed fields, which are between two places, to the end of the spec.
fn spec(bytes: &[u8], first: usize, last: usize) -> Option<Cut> {
    const SPEC: &[u8] = br#","spec":{"#;
    const STATUS: &[u8] = br#","status":{"#;
    const TIME: &[u8] = br#""time":""#;
    const TOKEN: &[u8] = b"kube-api-access-";
    const RANDOM: usize = 5;
    static FIND: LazyLock<[Finder; 3]> = LazyLock::new(|| [SPEC, TIME, TOKEN].map(Finder::new));
    let [spec, time, token] = &*FIND;
    let start = last + spec.find(&bytes[last..])?;
    let end = memmem::rfind(&bytes[start..], STATUS).map_or(bytes.len(), |at| start + at);
    let times = time.find_iter(&bytes[first..start]).map(|at| {
        let begins = first + at + TIME.len();
        let length = memchr(b'"', &bytes[begins..start]).unwrap_or_default();
        begins..begins + length
    });
    let tokens = token.find_iter(&bytes[start..end]).map(|at| {
        let begins = start + at + TOKEN.len();
        begins..(begins + RANDOM).min(end)
    });
    Some(Cut {
        range: first..end,
        holes: times.chain(tokens).collect(),
    })
}

/// Pieces that look alike, of which the last few are remembered.
const WAYS: usize = 4;
/// How many of those there are.
const SETS: usize = 64;

/// The pieces that were seen lately. It keeps none that nobody has: the bytes of a piece are allocated apart from the counts of its references,
/// which stay as long as it is remembered.
#[derive(Default)]
pub(crate) struct Pieces {
    known: Vec<[Weak<Piece>; WAYS]>,
    /// What was seen once: most objects' specs are theirs alone.
    seen: Vec<[u32; WAYS]>,
}

impl Pieces {
    /// What is cut out, once for all.
    fn one(&mut self, cut: &Cut, bytes: &[u8]) -> Arc<Piece> {
        let sum = cut.sum(bytes);
        self.find(cut, bytes, sum)
            .unwrap_or_else(|| self.remember(cut.piece(bytes), sum))
    }

    /// The same, but nothing for what is seen for the first time.
    fn if_seen(&mut self, cut: &Cut, bytes: &[u8]) -> Option<Arc<Piece>> {
        let sum = cut.sum(bytes);
        if let Some(found) = self.find(cut, bytes, sum) {
            return Some(found);
        }
        if self.seen.is_empty() {
            self.seen.resize_with(SETS, Default::default);
        }
        let seen = &mut self.seen[sum as usize % SETS];
        if seen.contains(&sum) {
            return Some(self.remember(cut.piece(bytes), sum));
        }
        seen.rotate_right(1);
        seen[0] = sum;
        None
    }

    fn find(&mut self, cut: &Cut, bytes: &[u8], sum: u32) -> Option<Arc<Piece>> {
        let ways = self.known.get_mut(sum as usize % SETS)?;
        let (place, found) = ways.iter().enumerate().find_map(|(place, way)| {
            let known = way.upgrade().filter(|known| cut.is(known, bytes))?;
            Some((place, known))
        })?;
        // the one seen last stands first
        ways[..=place].rotate_right(1);
        Some(found)
    }

    fn remember(&mut self, piece: Piece, sum: u32) -> Arc<Piece> {
        if self.known.is_empty() {
            self.known.resize_with(SETS, Default::default);
        }
        let ways = &mut self.known[sum as usize % SETS];
        let piece = Arc::new(piece);
        ways.rotate_right(1);
        ways[0] = Arc::downgrade(&piece);
        piece
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
            assert_eq!(kept.read_in(&mut b"old".to_vec()), text.as_bytes());
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
            matches!(shared[..2], [Some(one), Some(two)] if Arc::ptr_eq(one, two) && one.bytes.len() > 300)
        );
        assert!(shared[2].is_none() && shared[4].is_none() && shared[5].is_none());
        let gone = Arc::downgrade(shared[0].unwrap());
        texts.clear();
        assert!(gone.upgrade().is_none(), "nobody has it any more");
    }

    /// A pod of an owner: each has its own name, times, token's volume and status.
    fn pod(number: usize, image: &str) -> String {
        let fields = "x".repeat(300);
        format!(
            r#"{{"metadata":{{"name":"p{number}","managedFields":[{{"manager":"a","time":"2026-01-01T00:00:{:02}Z","fieldsV1":{{"f:{fields}":{{}}}}}}]}},"spec":{{"containers":[{{"image":"{image}","volumeMounts":[{{"name":"kube-api-access-{number:05}"}}]}}],"volumes":[{{"name":"kube-api-access-{number:05}"}}]}},"status":{{"podIP":"10.0.0.{number}"}}}}"#,
            number % 60
        )
    }

    #[test]
    fn the_pods_of_an_owner_share_what_they_are_to_be() {
        let mut pieces = Pieces::default();
        let mut keep = |text: &str| {
            let kept = Text::of(text.as_bytes(), &mut pieces);
            assert_eq!(kept.whole(), text.as_bytes());
            for skip in 0..text.len() {
                let mut out = Vec::new();
                kept.put_after(skip, &mut out);
                assert_eq!(out, &text.as_bytes()[skip..]);
            }
            kept
        };
        let all: Vec<_> = (0..5).map(|number| keep(&pod(number, "shop:1"))).collect();
        let size = |kept: &Text| kept.own.len();
        assert!(size(&all[0]) > size(&all[1]), "the first is alone");
        let shares = |one: &Text, other: &Text| match (&one.shared, &other.shared) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            _ => false,
        };
        assert!(
            all[1..]
                .iter()
                .all(|one| shares(one, &all[1]) && size(one) < 150)
        );
        // one whose spec is its own still shares its managed fields
        let other = keep(&pod(5, "shop:2"));
        assert!(!shares(&other, &all[1]) && shares(&other, &all[0]));
        // text that only looks as if
        for odd in [
            r#"{"managedFields":[],"spec":{"a":"kube-api-access-"#,
            r#"{"managedFields":[{"time":"2026],"spec":{"a":1},"status":{"#,
            r#"{"managedFields":[],"spec":{"a":"kube-api-access-kube-api-access-12345"}}"#,
        ] {
            keep(odd);
            keep(odd);
            keep(odd);
        }
    }

    #[test]
    fn a_revision_moves_what_comes_after_it() {
        let text = pod(1, "shop:1");
        let at = text.find("managedFields").unwrap() - 2;
        let spliced = format!("{}12345{}", &text[..at], &text[at..]);
        let outline = Outline::of(text.as_bytes()).unwrap();
        let wanted = Outline::of(spliced.as_bytes());
        assert_eq!(outline.spliced(at, 5), wanted);
        assert_eq!(outline.spliced(text.len(), 5).as_ref(), Some(&outline));
        let within = text.find("f:xx").unwrap();
        assert_eq!(outline.spliced(within, 5), None);
    }
}
