//! Netlink's framing: messages with a header, and attributes in them, one within another.
//!
//! Invariant: lengths are the kernel's (headers counted, padding not), everything begins at a multiple of four bytes, and bytes from the kernel are read
//! without a panic whatever they are. What is too large for its length is no message at all but an error. Follows netlink(7) and `include/uapi/linux/netfilter/nfnetlink.h` of the kernel.

const NESTED: u16 = 0x8000;

pub const NLMSG_ERROR: u16 = 2;
pub const NLMSG_DONE: u16 = 3;
pub const REQUEST: u16 = 1;
pub const ACK: u16 = 4;
pub const DUMP: u16 = 0x300;
pub const DUMP_INTERRUPTED: u16 = 0x10;
pub const CREATE: u16 = 0x400;
pub const APPEND: u16 = 0x800;

/// Messages that are being written.
#[derive(Default)]
pub struct Writer {
    pub bytes: Vec<u8>,
    /// Something has more bytes than its length can say.
    too_large: bool,
}

impl Writer {
    /// One message; `resource` is of `nfgenmsg`.
    pub fn message(
        &mut self,
        (kind, flags, sequence): (u16, u16, u32),
        (family, resource): (u8, u16),
        body: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend((flags | REQUEST).to_ne_bytes());
        self.bytes.extend(sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([family, 0]);
        self.bytes.extend(resource.to_be_bytes());
        body(self);
        match u32::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_large = true,
        }
    }

    pub fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.fill(kind, |w| w.bytes.extend(value));
    }

    /// An attribute that has attributes in it.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        self.fill(kind | NESTED, body);
    }

    fn fill(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        body(self);
        match u16::try_from(self.bytes.len() - start) {
            Ok(length) => self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes()),
            Err(_) => self.too_large = true,
        }
        let padded = self.bytes.len().next_multiple_of(4);
        self.bytes.resize(padded, 0);
    }

    /// Behind what was written, what another has.
    pub fn append(&mut self, other: Self) {
        self.bytes.extend(other.bytes);
        self.too_large |= other.too_large;
    }

    /// All that was written.
    pub fn finish(self) -> std::io::Result<Vec<u8>> {
        if self.too_large {
            return Err(std::io::Error::other(
                "an attribute of netlink has no more than 64 KB",
            ));
        }
        Ok(self.bytes)
    }

    pub fn number(&mut self, kind: u16, value: u32) {
        self.attribute(kind, &value.to_be_bytes());
    }

    pub fn long(&mut self, kind: u16, value: u64) {
        self.attribute(kind, &value.to_be_bytes());
    }

    /// A text with the zero that ends it.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.fill(kind, |w| {
            w.bytes.extend(value.as_bytes());
            w.bytes.push(0);
        });
    }
}

/// A message as it was read.
pub struct Message<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    /// What follows the header of netlink.
    pub body: &'a [u8],
}

/// All messages of a datagram.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = u32_at(bytes, 0)? as usize;
        let message = Message {
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            sequence: u32_at(bytes, 8)?,
            body: bytes.get(16..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// (type without flags, value) of each attribute.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16_at(bytes, 0)?);
        let kind = u16_at(bytes, 2)? & 0x3fff;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of one attribute.
pub fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, v)| v)
}

/// What an acknowledgement says.
pub fn acknowledged(body: &[u8]) -> std::io::Result<()> {
    match body.get(..4).and_then(|b| b.try_into().ok()) {
        Some(code) => match i32::from_ne_bytes(code) {
            0 => Ok(()),
            code => Err(std::io::Error::from_raw_os_error(code.saturating_neg())),
        },
        None => Err(std::io::ErrorKind::UnexpectedEof.into()),
    }
}

/// A text without the zero that ends it.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|b| *b == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut writer = Writer::default();
        for sequence in [1, 2] {
            writer.message((7, ACK, sequence), (2, 10), |w| {
                w.text(1, "abc");
                w.nest(2, |w| w.number(3, 4));
            });
        }
        let bytes = writer.finish().unwrap();
        let all: Vec<_> = messages(&bytes).collect();
        assert_eq!(all.len(), 2);
        let one = &all[1];
        assert_eq!((one.kind, one.flags, one.sequence), (7, ACK | REQUEST, 2));
        let body = &one.body[4..];
        assert_eq!(text(attribute(body, 1).unwrap()), "abc");
        let inner = attribute(body, 2).unwrap();
        assert_eq!(attribute(inner, 3), Some(&[0, 0, 0, 4][..]));
        assert_eq!(attribute(body, 9), None);
    }

    #[test]
    fn what_is_too_large_is_an_error() {
        let write = |count: usize| {
            let (mut writer, mut inner) = (Writer::default(), Writer::default());
            inner.nest(2, |w| w.attribute(3, &vec![0; count]));
            writer.message((7, 0, 1), (2, 10), |w| w.append(inner));
            writer.number(1, 1);
            writer.finish()
        };
        assert!(write(65_524).is_ok());
        let error = write(65_525).unwrap_err().to_string();
        assert!(error.contains("64 KB"), "{error}");
    }

    #[test]
    fn nonsense_ends_the_reading() {
        for bytes in [&[9; 7][..], &[0; 64], &[255; 64]] {
            assert!(messages(bytes).count() <= 4);
            assert!(attributes(bytes).count() <= 16);
        }
        let refused = acknowledged(&(-libc::ENOENT).to_ne_bytes()).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(libc::ENOENT));
        assert!(acknowledged(&[0; 4]).is_ok() && acknowledged(&[]).is_err());
    }
}
