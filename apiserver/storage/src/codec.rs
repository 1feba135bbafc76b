//! The bytes of a log batch and of an object's row. No I/O here.
//!
//! Invariant: what is read back is exactly what was written, or an error says why not (each value bears a checksum).
//! Layout, all numbers little-endian: a batch is `crc32 u32, length u32, first revision u64, count u32`, then per record `kind u8`
//! and four strings (resource, namespace, name, bytes), each `length u32` before it; its revisions are dense.
//! An object's key is `resource \0 namespace / name`, its row `crc32 u32, revision u64, bytes`.

use crate::Key;

/// Of the layouts above; the database names it. One of another is refused.
pub(crate) const FORMAT: u8 = 1;
/// Bytes before the records of a batch.
pub(crate) const FRAME_HEAD: usize = 20;
/// Revisions that a batch which is looked for in damaged bytes may lie ahead.
const AHEAD: u64 = 1 << 24;
const ROW_HEAD: usize = 12;

/// What a record says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Change {
    Put,
    /// The bytes are the object's last state.
    Remove,
    /// The last state is that of the stored version.
    RemoveAsStored,
}

impl Change {
    fn of(byte: u8) -> Option<Self> {
        [Self::Put, Self::Remove, Self::RemoveAsStored]
            .into_iter()
            .find(|change| *change as u8 == byte)
    }
}

/// One write in a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Record<'a> {
    pub change: Change,
    pub resource: &'a str,
    pub namespace: &'a str,
    pub name: &'a str,
    pub bytes: &'a [u8],
}

/// Gathers the records of a batch.
pub(crate) struct BatchWriter {
    buffer: Vec<u8>,
    count: u32,
}

impl BatchWriter {
    pub fn new() -> Self {
        Self {
            buffer: vec![0; FRAME_HEAD],
            count: 0,
        }
    }

    pub fn push(&mut self, change: Change, key: &Key, bytes: &[u8]) {
        self.count += 1;
        self.buffer.push(change as u8);
        for part in [
            key.resource.as_bytes(),
            key.namespace.as_bytes(),
            key.name.as_bytes(),
            bytes,
        ] {
            put(&mut self.buffer, part);
        }
    }

    /// The batch, whose first record has the revision `first`.
    pub fn finish(mut self, first: u64) -> Vec<u8> {
        let length = self.buffer.len() as u32;
        self.buffer[4..8].copy_from_slice(&length.to_le_bytes());
        self.buffer[8..16].copy_from_slice(&first.to_le_bytes());
        self.buffer[16..FRAME_HEAD].copy_from_slice(&self.count.to_le_bytes());
        let checksum = crc32fast::hash(&self.buffer[4..]);
        self.buffer[..4].copy_from_slice(&checksum.to_le_bytes());
        self.buffer
    }
}

/// What stands at a place of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Framed {
    /// A batch, `length` bytes of it.
    Whole {
        first: u64,
        count: u32,
        length: usize,
    },
    /// Zeros, the end, or a part of a batch.
    Nothing,
}

/// What stands at the beginning of `bytes`.
pub(crate) fn frame(bytes: &[u8]) -> Framed {
    let word = |at: usize| {
        bytes
            .get(at..at + 4)
            .and_then(|word| word.try_into().ok())
            .map(u32::from_le_bytes)
    };
    let (Some(checksum), Some(length), Some(low), Some(high), Some(count)) =
        (word(0), word(4), word(8), word(12), word(16))
    else {
        return Framed::Nothing;
    };
    let length = length as usize;
    match bytes.get(4..length) {
        Some(rest) if length >= FRAME_HEAD && crc32fast::hash(rest) == checksum => Framed::Whole {
            first: u64::from(low) | u64::from(high) << 32,
            count,
            length,
        },
        _ => Framed::Nothing,
    }
}

/// Whether a whole batch stands anywhere in `bytes` whose first revision is `from` or not far after it.
pub(crate) fn has_frame(bytes: &[u8], from: u64) -> bool {
    bytes.windows(FRAME_HEAD).enumerate().any(|(at, head)| {
        let first = head[8..16].try_into().map_or(0, u64::from_le_bytes);
        (from..from + AHEAD).contains(&first) && frame(&bytes[at..]) != Framed::Nothing
    })
}

/// Why bytes that were stored cannot be read.
#[derive(thiserror::Error, Debug, PartialEq)]
pub(crate) enum Damage {
    #[error("the checksum of {0} does not match")]
    Checksum(&'static str),
    #[error("{0} is cut off")]
    CutOff(&'static str),
    #[error("a record has the unknown kind {0}")]
    RecordKind(u8),
    #[error("a key is no text: {0}")]
    NoText(#[from] std::str::Utf8Error),
    #[error("a key lacks its {0}")]
    Key(&'static str),
    #[error("after revision {0} comes {1}")]
    Gap(u64, u64),
    #[error("revision {0} removes what is not there")]
    NotThere(u64),
    #[error("its format is {0:?}, this program knows {FORMAT}")]
    Format(Option<u64>),
    #[error("it lacks its revisions")]
    NoRevisions,
    #[error("the log is broken at byte {offset} of segment {segment}")]
    Segment { offset: usize, segment: u64 },
    #[error("{0}")]
    Pack(&'static str),
}

/// The revision of the first record of a batch, and the records.
pub(crate) fn read_batch(batch: &[u8]) -> Result<(u64, Vec<Record<'_>>), Damage> {
    let Framed::Whole {
        first,
        count,
        length,
    } = frame(batch)
    else {
        return Err(Damage::Checksum("a batch"));
    };
    let mut rest = &batch[FRAME_HEAD..length];
    let mut records = Vec::new();
    for _ in 0..count {
        let (&kind, tail) = rest.split_first().ok_or(Damage::CutOff("a batch"))?;
        rest = tail;
        let change = Change::of(kind).ok_or(Damage::RecordKind(kind))?;
        let (resource, namespace, name) = (text(&mut rest)?, text(&mut rest)?, text(&mut rest)?);
        records.push(Record {
            change,
            resource,
            namespace,
            name,
            bytes: part(&mut rest)?,
        });
    }
    Ok((first, records))
}

/// Appends a part with its length before it. Parts of 4 GiB and more do not come here: a request's body is bounded far below.
pub(crate) fn put(buffer: &mut Vec<u8>, part: &[u8]) {
    buffer.extend_from_slice(&(part.len() as u32).to_le_bytes());
    buffer.extend_from_slice(part);
}

/// The next part, if there is a whole one.
pub(crate) fn take<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk::<4>()?;
    let (part, tail) = tail.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    *rest = tail;
    Some(part)
}

pub(crate) fn part<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Damage> {
    take(rest).ok_or(Damage::CutOff("a record"))
}

pub(crate) fn text<'a>(rest: &mut &'a [u8]) -> Result<&'a str, Damage> {
    Ok(std::str::from_utf8(part(rest)?)?)
}

/// Why a key can not be stored, if it can not.
pub(crate) fn key_fault(key: &Key) -> Option<&'static str> {
    match () {
        () if key.resource.is_empty() || key.name.is_empty() => Some("resource or name is empty"),
        () if key.resource.contains('\0') => Some("the resource holds a zero byte"),
        () if key.namespace.contains('/') => Some("the namespace holds a slash"),
        () => None,
    }
}

pub(crate) fn row_key(resource: &str, namespace: &str, name: &str) -> Vec<u8> {
    [resource, "\0", namespace, "/", name].concat().into_bytes()
}

/// Resource, namespace, name.
pub(crate) fn read_row_key(key: &[u8]) -> Result<(&str, &str, &str), Damage> {
    let key = std::str::from_utf8(key)?;
    let (resource, place) = key.split_once('\0').ok_or(Damage::Key("resource"))?;
    let (namespace, name) = place.split_once('/').ok_or(Damage::Key("namespace"))?;
    Ok((resource, namespace, name))
}

pub(crate) fn row(revision: u64, bytes: &[u8]) -> Vec<u8> {
    let mut row = vec![0; 4];
    row.extend_from_slice(&revision.to_le_bytes());
    row.extend_from_slice(bytes);
    let checksum = crc32fast::hash(&row[4..]);
    row[..4].copy_from_slice(&checksum.to_le_bytes());
    row
}

/// Revision and bytes.
pub(crate) fn read_row(row: &[u8]) -> Result<(u64, &[u8]), Damage> {
    let cut_off = Damage::CutOff("an object");
    let Some((head, bytes)) = row.split_first_chunk::<ROW_HEAD>() else {
        return Err(cut_off);
    };
    let (checksum, revision) = head.split_at(4);
    if crc32fast::hash(&row[4..]).to_le_bytes() != checksum {
        return Err(Damage::Checksum("an object"));
    }
    let revision = revision.try_into().map_err(|_| cut_off)?;
    Ok((u64::from_le_bytes(revision), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(resource: &str, namespace: &str, name: &str) -> Key {
        Key {
            resource: resource.into(),
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    #[test]
    fn batches_come_back() {
        let mut writer = BatchWriter::new();
        writer.push(Change::Put, &key("pods", "default", "a"), b"{}");
        writer.push(Change::Remove, &key("deployments.apps", "", "b"), b"last");
        writer.push(Change::RemoveAsStored, &key("pods", "x", "c"), b"");
        let batch = writer.finish(77);
        let (first, records) = read_batch(&batch).unwrap();
        assert_eq!((first, records.len()), (77, 3));
        assert_eq!(
            records[1],
            Record {
                change: Change::Remove,
                resource: "deployments.apps",
                namespace: "",
                name: "b",
                bytes: b"last"
            }
        );
        for broken in 0..batch.len() {
            let mut damaged = batch.clone();
            damaged[broken] ^= 4;
            assert!(read_batch(&damaged).is_err(), "byte {broken}");
            assert!(read_batch(&batch[..broken]).is_err(), "cut at {broken}");
        }
    }

    #[test]
    fn a_batch_is_found_in_what_follows_damage() {
        let mut writer = BatchWriter::new();
        writer.push(Change::Put, &key("pods", "default", "a"), b"{}");
        let batch = writer.finish(77);
        let bytes = [b"torn \0\0\0\x4d".as_slice(), &batch, &[0; 50]].concat();
        assert_eq!(frame(&bytes), Framed::Nothing);
        let table = [(77, true), (70, true), (78, false), (1, true)];
        for (from, expected) in table {
            assert_eq!(has_frame(&bytes, from), expected, "{from}");
        }
        assert!(
            !has_frame(&bytes[..bytes.len() - 51], 77),
            "a part of a batch is none"
        );
        assert!(!has_frame(&[0; 100], 1));
        assert_eq!(frame(&[0; 100]), Framed::Nothing);
    }

    #[test]
    fn rows_come_back() {
        let row = row(77, b"{\"a\":1}");
        assert_eq!(read_row(&row), Ok((77, b"{\"a\":1}".as_slice())));
        for broken in 0..row.len() {
            let mut damaged = row.clone();
            damaged[broken] ^= 1;
            assert!(read_row(&damaged).is_err(), "byte {broken}");
        }
        for (resource, namespace, name) in [
            ("pods", "default", "a"),
            ("nodes", "", "n"),
            ("x.y", "ns", "a/b:c"),
        ] {
            assert_eq!(
                read_row_key(&row_key(resource, namespace, name)),
                Ok((resource, namespace, name))
            );
        }
        assert!(read_row_key(b"pods").is_err());
    }

    #[test]
    fn impossible_keys_are_named() {
        assert_eq!(key_fault(&key("pods", "ns", "a")), None);
        assert_eq!(key_fault(&key("nodes", "", "system:x/y")), None);
        for (resource, namespace, name) in [
            ("", "", "a"),
            ("pods", "ns", ""),
            ("po\0ds", "", "a"),
            ("pods", "a/b", "c"),
        ] {
            assert!(key_fault(&key(resource, namespace, name)).is_some());
        }
    }
}
