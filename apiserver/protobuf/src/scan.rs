//! The compact JSON text of an object, read once from its beginning to its end without a value being made of it.
//!
//! Who makes tables of what is stored reads it by the same.
//!
//! Invariant: nothing outside of the text is looked at; what is no JSON is an error that names the byte.

use std::borrow::Cow;

use crate::error::ProtobufError;

/// A text and how far it was read.
pub struct Scan<'t> {
    text: &'t [u8],
    at: usize,
}

type Scanned<T> = Result<T, ProtobufError>;

/// How many bytes stand before the next quote or backslash: all, if there is none. Eight are looked at together; of those that the trick marks, the
/// first is right.
fn plain(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    let marks = |word: u64, wanted: u8| {
        let zero = word ^ (ONES * u64::from(wanted));
        zero.wrapping_sub(ONES) & !zero & (ONES << 7)
    };
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        let word = u64::from_le_bytes(*chunk);
        let marked = marks(word, b'"') | marks(word, b'\\');
        if marked != 0 {
            return at + (marked.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    let rest = bytes[at..].iter();
    at + rest
        .take_while(|byte| !matches!(byte, b'"' | b'\\'))
        .count()
}

fn is_of_number(byte: u8) -> bool {
    byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E')
}

impl<'t> Scan<'t> {
    /// From the beginning on.
    pub fn new(text: &'t [u8]) -> Self {
        Scan { text, at: 0 }
    }

    /// What is told when something else was expected here.
    pub fn unfit(&self) -> ProtobufError {
        ProtobufError::Unfit(self.at)
    }

    /// The next byte that is no space.
    #[inline]
    pub fn peek(&mut self) -> Scanned<u8> {
        loop {
            match self.text.get(self.at) {
                Some(b' ' | b'\n' | b'\r' | b'\t') => self.at += 1,
                Some(byte) => return Ok(*byte),
                None => return Err(ProtobufError::Ended),
            }
        }
    }

    /// The text from here on.
    pub fn rest(&self) -> &'t [u8] {
        &self.text[self.at..]
    }

    /// Passes over so many bytes.
    pub fn pass(&mut self, length: usize) {
        self.at += length;
    }

    /// Passes over this byte.
    #[inline]
    pub fn expect(&mut self, wanted: u8) -> Scanned<()> {
        if self.peek()? != wanted {
            return Err(self.unfit());
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Scanned<()> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.unfit());
        }
        self.at += word.len();
        Ok(())
    }

    /// Passes over a `null`, if one stands here.
    pub fn null(&mut self) -> Scanned<bool> {
        if self.peek()? != b'n' {
            return Ok(false);
        }
        self.word(b"null").map(|()| true)
    }

    /// Another member of the object or list that `end` ends; `first`: there was none yet.
    pub fn more(&mut self, first: bool, end: u8) -> Scanned<bool> {
        match self.peek()? {
            byte if byte == end => {
                self.at += 1;
                Ok(false)
            }
            _ if first => Ok(true),
            b',' => {
                self.at += 1;
                Ok(true)
            }
            _ => Err(self.unfit()),
        }
    }

    /// The name of a member and the colon after it.
    pub fn name(&mut self) -> Scanned<Cow<'t, [u8]>> {
        let name = self.string()?;
        self.expect(b':')?;
        Ok(name)
    }

    /// The contents of a string as they stand in the text, and whether something in them is escaped.
    fn contents(&mut self) -> Scanned<(&'t [u8], bool)> {
        self.expect(b'"')?;
        let start = self.at;
        let mut escaped = false;
        loop {
            self.at += plain(&self.text[self.at..]);
            match self.text.get(self.at) {
                Some(b'"') => {
                    let contents = &self.text[start..self.at];
                    self.at += 1;
                    return Ok((contents, escaped));
                }
                Some(_) => {
                    escaped = true;
                    self.at = (self.at + 2).min(self.text.len());
                }
                None => return Err(ProtobufError::Ended),
            }
        }
    }

    /// A string, whose bytes are UTF-8 if those of the text are.
    pub fn string(&mut self) -> Scanned<Cow<'t, [u8]>> {
        let start = self.at;
        let (contents, escaped) = self.contents()?;
        if !escaped {
            return Ok(Cow::Borrowed(contents));
        }
        let quoted = &self.text[self.at - contents.len() - 2..self.at];
        let text: String =
            serde_json::from_slice(quoted).map_err(|_| ProtobufError::Unfit(start))?;
        Ok(Cow::Owned(text.into_bytes()))
    }

    /// The same of a string that is read further.
    pub fn text(&mut self) -> Scanned<Cow<'t, str>> {
        let unfit = self.unfit();
        Ok(match self.string()? {
            Cow::Borrowed(bytes) => Cow::Borrowed(std::str::from_utf8(bytes).map_err(|_| unfit)?),
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8(bytes).map_err(|_| unfit)?),
        })
    }

    /// A `true` or `false`.
    pub fn bool(&mut self) -> Scanned<bool> {
        match self.peek()? {
            b't' => self.word(b"true").map(|()| true),
            _ => self.word(b"false").map(|()| false),
        }
    }

    /// The text of a number.
    fn digits(&mut self) -> Scanned<&'t str> {
        self.peek()?;
        let rest = &self.text[self.at..];
        let length = rest.iter().position(|byte| !is_of_number(*byte));
        let digits = &rest[..length.unwrap_or(rest.len())];
        let text = std::str::from_utf8(digits).map_err(|_| self.unfit())?;
        self.at += digits.len();
        Ok(text)
    }

    /// A whole number.
    pub fn integer(&mut self) -> Scanned<i64> {
        let unfit = self.unfit();
        self.digits()?.parse().map_err(|_| unfit)
    }

    /// A number.
    pub fn float(&mut self) -> Scanned<f64> {
        let unfit = self.unfit();
        self.digits()?.parse().map_err(|_| unfit)
    }

    /// Passes over a value, whatever it is; its text.
    pub fn any(&mut self) -> Scanned<&'t [u8]> {
        let first = self.peek()?;
        let start = self.at;
        match first {
            b'"' => drop(self.contents()?),
            b'{' | b'[' => self.nested()?,
            b't' | b'f' => drop(self.bool()?),
            b'n' => drop(self.null()?),
            _ if self.digits()?.is_empty() => return Err(self.unfit()),
            _ => {}
        }
        Ok(&self.text[start..self.at])
    }

    /// Passes over an object or a list, of which no more is looked at than where it ends and whether its words are words.
    fn nested(&mut self) -> Scanned<()> {
        let mut open = 0usize;
        loop {
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.contents()?;
                    continue;
                }
                Some(b'{' | b'[') => open += 1,
                Some(b'}' | b']') => {
                    open -= 1;
                    if open == 0 {
                        self.at += 1;
                        return Ok(());
                    }
                }
                Some(b't') => {
                    self.word(b"true")?;
                    continue;
                }
                Some(b'f') => {
                    self.word(b"false")?;
                    continue;
                }
                Some(b'n') => {
                    self.word(b"null")?;
                    continue;
                }
                Some(b',' | b':' | b' ' | b'\n' | b'\r' | b'\t') => {}
                Some(byte) if is_of_number(*byte) => {}
                Some(_) => return Err(self.unfit()),
                None => return Err(ProtobufError::Ended),
            }
            self.at += 1;
        }
    }

    /// Passes over an object, of whose fields `field` reads those that it wants, each by its name.
    ///
    /// # Errors
    /// It is none, or what `field` says.
    pub fn object<E: From<ProtobufError>>(
        &mut self,
        mut field: impl FnMut(&[u8], &mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'{')?;
        let mut first = true;
        while self.more(std::mem::take(&mut first), b'}')? {
            let name = self.name()?;
            self.peek()?;
            let before = self.at;
            field(&name, self)?;
            if self.at == before {
                self.any()?;
            }
        }
        Ok(())
    }

    /// Passes over a list, each of whose items `item` reads.
    ///
    /// # Errors
    /// It is none, or what `item` says.
    pub fn list<E: From<ProtobufError>>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.expect(b'[')?;
        let mut first = true;
        while self.more(std::mem::take(&mut first), b']')? {
            item(self)?;
        }
        Ok(())
    }

    /// Nothing follows but what ends a line.
    pub fn end(&mut self) -> Scanned<()> {
        match self.peek() {
            Err(ProtobufError::Ended) => Ok(()),
            _ => Err(self.unfit()),
        }
    }
}
