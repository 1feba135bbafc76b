//! The words of a JSON text, one after the other: names, elements, values that are passed over.
//!
//! Invariant: it is never deeper than `DEEPEST` and never past the text's end; each function exists once, whatever type is read.

use std::borrow::Cow;

use serde::de::{self, Unexpected};

use super::{Dropped, Error};

/// Deeper than any object that the server accepts nests.
const DEEPEST: usize = 512;

pub(super) struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    /// What is passed over.
    pub(super) dropped: Dropped,
}

pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Float(f64),
}

impl<'a> Reader<'a> {
    pub(super) fn new(text: &'a str, dropped: Dropped) -> Reader<'a> {
        Reader {
            text,
            at: 0,
            depth: 0,
            dropped,
        }
    }

    /// Nothing but white space is left.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(Error::new("trailing characters", self.at)),
        }
    }

    /// The next byte that is not white space, without taking it.
    pub(super) fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    #[inline(never)]
    pub(super) fn take(&mut self, expected: u8) -> Result<(), Error> {
        if self.peek() == Some(expected) {
            self.at += 1;
            return Ok(());
        }
        Err(Error::new(
            &format!("expected `{}`", char::from(expected)),
            self.at,
        ))
    }

    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    /// Takes a `null`, if that is next.
    #[inline(never)]
    pub(super) fn null(&mut self) -> bool {
        let found = self.peek() == Some(b'n') && self.rest().starts_with(b"null");
        if found {
            self.at += 4;
        }
        found
    }

    #[inline(never)]
    pub(super) fn string(&mut self) -> Result<Cow<'a, str>, Error> {
        self.take(b'"')?;
        let start = self.at;
        let rest = self.rest();
        let mut escaped = false;
        let mut at = 0;
        loop {
            match rest
                .get(at..)
                .and_then(|rest| memchr::memchr2(b'"', b'\\', rest))
            {
                None => return Err(Error::new("a string does not end", start)),
                Some(ahead) if rest[at + ahead] == b'\\' => {
                    escaped = true;
                    at += ahead + 2;
                }
                Some(ahead) => {
                    at += ahead;
                    break;
                }
            }
        }
        self.at = start + at + 1;
        if !escaped {
            return Ok(Cow::Borrowed(&self.text[start..start + at]));
        }
        let quoted = &self.text[start - 1..self.at];
        serde_json::from_str::<String>(quoted)
            .map(Cow::Owned)
            .map_err(|error| Error::new(&error.to_string(), start))
    }

    #[inline(never)]
    pub(super) fn number(&mut self) -> Result<Number, Error> {
        self.peek();
        let start = self.at;
        let length = self
            .rest()
            .iter()
            .take_while(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        self.at += length;
        let text = &self.text[start..self.at];
        if let Ok(number) = text.parse() {
            return Ok(Number::Unsigned(number));
        }
        if let Ok(number) = text.parse() {
            return Ok(Number::Signed(number));
        }
        let number = text.parse().ok().filter(|n: &f64| n.is_finite());
        number
            .map(Number::Float)
            .ok_or_else(|| Error::new("expected a value", start))
    }

    #[inline(never)]
    pub(super) fn boolean(&mut self) -> Result<bool, Error> {
        self.peek();
        for (text, value) in [("true", true), ("false", false)] {
            if self.rest().starts_with(text.as_bytes()) {
                self.at += text.len();
                return Ok(value);
            }
        }
        Err(Error::new("expected a value", self.at))
    }

    /// Passes over a value without reading it.
    #[inline(never)]
    pub(super) fn skip(&mut self) -> Result<(), Error> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'{') => {
                let mut first = self.open()?;
                while let Some(_name) = self.name(&mut first)? {
                    self.skip()?;
                }
                Ok(())
            }
            Some(b'[') => {
                let mut first = self.open()?;
                while self.element(&mut first)? {
                    self.skip()?;
                }
                Ok(())
            }
            Some(b't' | b'f') => self.boolean().map(drop),
            Some(b'n') if self.null() => Ok(()),
            _ => self.number().map(drop),
        }
    }

    /// Goes into a list or a map; what it returns is for [`Reader::name`] and [`Reader::element`].
    pub(super) fn open(&mut self) -> Result<bool, Error> {
        self.at += 1;
        self.depth += 1;
        if self.depth > DEEPEST {
            Err(Error::new("nested too deep", self.at))
        } else {
            Ok(true)
        }
    }

    /// The next name of a map, up to its value; `None` past its end.
    #[inline(never)]
    pub(super) fn name(&mut self, first: &mut bool) -> Result<Option<Cow<'a, str>>, Error> {
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                self.depth -= 1;
                return Ok(None);
            }
            Some(b',') if !*first => self.at += 1,
            _ if *first => {}
            _ => return Err(Error::new("expected `,` or `}`", self.at)),
        }
        *first = false;
        let name = self.string()?;
        self.take(b':')?;
        Ok(Some(name))
    }

    /// Whether a list has another element.
    #[inline(never)]
    pub(super) fn element(&mut self, first: &mut bool) -> Result<bool, Error> {
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                self.depth -= 1;
                return Ok(false);
            }
            Some(b',') if !*first => self.at += 1,
            _ if *first => {}
            _ => return Err(Error::new("expected `,` or `]`", self.at)),
        }
        *first = false;
        Ok(true)
    }

    /// What stands where something else was expected.
    #[cold]
    #[inline(never)]
    pub(super) fn unexpected(&mut self, visitor: &dyn de::Expected) -> Error {
        let at = self.at;
        let found = match self.peek() {
            Some(b'"') => self
                .string()
                .map(|text| de::Error::invalid_type(Unexpected::Str(&text), visitor)),
            Some(b'{') => Ok(de::Error::invalid_type(Unexpected::Map, visitor)),
            Some(b'[') => Ok(de::Error::invalid_type(Unexpected::Seq, visitor)),
            Some(b't' | b'f') => self
                .boolean()
                .map(|value| de::Error::invalid_type(Unexpected::Bool(value), visitor)),
            Some(b'-' | b'0'..=b'9') => self.number().map(|number| {
                let found = match number {
                    Number::Unsigned(number) => Unexpected::Unsigned(number),
                    Number::Signed(number) => Unexpected::Signed(number),
                    Number::Float(number) => Unexpected::Float(number),
                };
                de::Error::invalid_type(found, visitor)
            }),
            _ => Ok(Error::new("expected a value", at)),
        };
        found.unwrap_or_else(|error| error)
    }
}
