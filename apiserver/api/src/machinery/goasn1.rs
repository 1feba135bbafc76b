//! DER as Go reads it: what is wrong with bytes that should hold a structure, in the words of its decoder.
//!
//! Invariant: a [`Reader`] never reads past its bytes; places in errors count from the bytes of the structure around.
//! Follows Go's `encoding/asn1` (`parseTagAndLength`, `parseField`).

/// In Go's words.
#[derive(thiserror::Error, Debug, Clone, PartialEq)]
pub enum Asn1Error {
    #[error("asn1: syntax error: {0}")]
    Syntax(&'static str),
    #[error("asn1: structure error: {0}")]
    Structure(String),
}

fn structure(why: &str) -> Asn1Error {
    Asn1Error::Structure(why.into())
}

/// What stands before a value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Header {
    pub class: u8,
    pub tag: u32,
    pub length: usize,
    pub compound: bool,
}

/// A value with what stands before it.
#[derive(Debug, Clone, Copy)]
pub struct Element<'b> {
    pub header: Header,
    pub whole: &'b [u8],
    pub content: &'b [u8],
}

/// What a field of a structure is to be, and its type's name in Go.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub tag: u32,
    pub class: u8,
    pub compound: bool,
    pub name: &'static str,
}

impl Field {
    pub const fn sequence(name: &'static str) -> Field {
        Field {
            tag: 16,
            class: 0,
            compound: true,
            name,
        }
    }

    pub const fn primitive(tag: u32, name: &'static str) -> Field {
        Field {
            tag,
            class: 0,
            compound: false,
            name,
        }
    }
}

/// Reads one value after the other.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    pub fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes, at: 0 }
    }

    pub fn is_done(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Whatever value stands here.
    ///
    /// # Errors
    /// There is none, or not all of it.
    pub fn any(&mut self) -> Result<Element<'b>, Asn1Error> {
        if self.is_done() {
            return Err(Asn1Error::Syntax("sequence truncated"));
        }
        let start = self.at;
        let (header, at) = header(self.bytes, start)?;
        self.value(start, header, at)
    }

    /// A value that is to be this.
    ///
    /// # Errors
    /// There is none, another one, or not all of it.
    pub fn field(&mut self, field: &Field) -> Result<Element<'b>, Asn1Error> {
        if self.is_done() {
            return Err(Asn1Error::Syntax("sequence truncated"));
        }
        let start = self.at;
        let (header, at) = header(self.bytes, start)?;
        if (header.class, header.tag, header.compound) != (field.class, field.tag, field.compound) {
            const OPTIONS: &str = "{optional:false explicit:false application:false private:false defaultValue:<nil> tag:<nil> stringType:0 timeType:0 set:false omitEmpty:false}";
            return Err(Asn1Error::Structure(format!(
                "tags don't match ({} vs {{class:{} tag:{} length:{} isCompound:{}}}) {OPTIONS} {} @{at}",
                field.tag, header.class, header.tag, header.length, header.compound, field.name
            )));
        }
        self.value(start, header, at)
    }

    fn value(&mut self, start: usize, header: Header, at: usize) -> Result<Element<'b>, Asn1Error> {
        let end = at.checked_add(header.length);
        let Some(content) = end.and_then(|end| self.bytes.get(at..end)) else {
            return Err(Asn1Error::Syntax("data truncated"));
        };
        self.at = at + header.length;
        Ok(Element {
            header,
            whole: &self.bytes[start..self.at],
            content,
        })
    }
}

fn header(bytes: &[u8], mut at: usize) -> Result<(Header, usize), Asn1Error> {
    const TRUNCATED: Asn1Error = Asn1Error::Syntax("truncated tag or length");
    let first = *bytes.get(at).ok_or(TRUNCATED)?;
    at += 1;
    let mut found = Header {
        class: first >> 6,
        tag: u32::from(first & 0x1f),
        length: 0,
        compound: first & 0x20 != 0,
    };
    if found.tag == 0x1f {
        (found.tag, at) = base_128(bytes, at)?;
        if found.tag < 0x1f {
            return Err(Asn1Error::Syntax("non-minimal tag"));
        }
    }
    let first = *bytes.get(at).ok_or(TRUNCATED)?;
    at += 1;
    if first & 0x80 == 0 {
        found.length = usize::from(first);
        return Ok((found, at));
    }
    let count = first & 0x7f;
    if count == 0 {
        return Err(Asn1Error::Syntax("indefinite length found (not DER)"));
    }
    for _ in 0..count {
        let next = *bytes.get(at).ok_or(TRUNCATED)?;
        at += 1;
        if found.length >= 1 << 23 {
            return Err(structure("length too large"));
        }
        found.length = found.length << 8 | usize::from(next);
        if found.length == 0 {
            return Err(structure("superfluous leading zeros in length"));
        }
    }
    if found.length < 0x80 {
        return Err(structure("non-minimal length"));
    }
    Ok((found, at))
}

fn base_128(bytes: &[u8], mut at: usize) -> Result<(u32, usize), Asn1Error> {
    let mut value: u64 = 0;
    for shifted in 0.. {
        let Some(byte) = bytes.get(at) else { break };
        if shifted == 5 {
            return Err(structure("base 128 integer too large"));
        }
        if shifted == 0 && *byte == 0x80 {
            return Err(Asn1Error::Syntax("integer is not minimally encoded"));
        }
        value = value << 7 | u64::from(byte & 0x7f);
        at += 1;
        if byte & 0x80 == 0 {
            return match i32::try_from(value) {
                Ok(_) => Ok((value as u32, at)),
                Err(_) => Err(structure("base 128 integer too large")),
            };
        }
    }
    Err(Asn1Error::Syntax("truncated base 128 integer"))
}

/// What is wrong with an integer of 64 bits.
///
/// # Errors
/// It is none.
pub fn check_integer(content: &[u8]) -> Result<(), Asn1Error> {
    match content {
        [] => Err(structure("empty integer")),
        [0, next, ..] if next & 0x80 == 0 => Err(structure("integer not minimally-encoded")),
        [0xff, next, ..] if next & 0x80 != 0 => Err(structure("integer not minimally-encoded")),
        long if long.len() > 8 => Err(structure("integer too large")),
        _ => Ok(()),
    }
}

/// What is wrong with an object's identifier.
///
/// # Errors
/// It is none.
pub fn check_identifier(content: &[u8]) -> Result<(), Asn1Error> {
    if content.is_empty() {
        return Err(Asn1Error::Syntax("zero length OBJECT IDENTIFIER"));
    }
    let mut at = 0;
    while at < content.len() {
        (_, at) = base_128(content, at)?;
    }
    Ok(())
}

/// The bits of a string of bits, which are whole bytes in all that is read here.
///
/// # Errors
/// It is none.
pub fn bits(content: &[u8]) -> Result<&[u8], Asn1Error> {
    let Some((padding, bytes)) = content.split_first() else {
        return Err(Asn1Error::Syntax("zero length BIT STRING"));
    };
    let low = |last: &u8| u16::from(*last) & ((1u16 << *padding.min(&8)) - 1) != 0;
    if *padding > 7 || bytes.is_empty() && *padding > 0 || bytes.last().is_some_and(low) {
        return Err(Asn1Error::Syntax("invalid padding bits in BIT STRING"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_go_says_of_bytes() {
        let read = |bytes: &[u8]| {
            let mut reader = Reader::new(bytes);
            match reader.field(&Field::sequence("thing")) {
                Ok(_) => String::new(),
                Err(error) => error.to_string(),
            }
        };
        for (bytes, said) in [
            (&b""[..], "asn1: syntax error: sequence truncated"),
            (b"x", "asn1: syntax error: truncated tag or length"),
            (
                b"\x30\x80\0\0",
                "asn1: syntax error: indefinite length found (not DER)",
            ),
            (b"\x30\x82\x01\0", "asn1: syntax error: data truncated"),
            (
                b"\x30\x81\x01\0",
                "asn1: structure error: non-minimal length",
            ),
            (
                b"\x30\x85\x01\0\0\0\0",
                "asn1: structure error: length too large",
            ),
            (b"\x3f\x01\0", "asn1: syntax error: non-minimal tag"),
            (b"\x30\0", ""),
        ] {
            assert_eq!(read(bytes), said, "{bytes:?}");
        }
        assert!(read(b"\x02\x01\0").starts_with(
            "asn1: structure error: tags don't match (16 vs {class:0 tag:2 length:1 isCompound:false}) {optional:false "
        ));
        assert!(read(b"\x02\x01\0").ends_with(" thing @2"));
        let said = |found: Result<(), Asn1Error>| found.err().map(|error| error.to_string());
        assert_eq!(
            said(check_integer(&[0, 1])).unwrap(),
            "asn1: structure error: integer not minimally-encoded"
        );
        assert_eq!(
            said(check_identifier(&[0x80, 1])).unwrap(),
            "asn1: syntax error: integer is not minimally encoded"
        );
        assert_eq!(
            bits(&[1, 1]).unwrap_err().to_string(),
            "asn1: syntax error: invalid padding bits in BIT STRING"
        );
        assert_eq!(bits(&[0, 7]), Ok(&[7][..]));
    }
}
