//! Texts in quotation marks, as Go's `%q` writes them: upstream's messages name what users gave in this form.
//! Invariant: this is the only place with that rule. Behaviour follows `strconv.Quote` and `strconv.QuoteRune`.

mod printable;

pub use printable::is_printable;
use std::fmt::{self, Display, Write};

/// A text, shown in quotation marks.
#[derive(Clone, Copy, Debug)]
pub struct GoQuoted<T>(pub T);

impl<T: AsRef<str>> Display for GoQuoted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, '"', self.0.as_ref())
    }
}

/// A single character, shown in apostrophes.
#[derive(Clone, Copy, Debug)]
pub struct GoQuotedChar(pub char);

impl Display for GoQuotedChar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_quoted(f, '\'', self.0.encode_utf8(&mut [0; 4]))
    }
}

/// A single character by its number, and beside it as it is where it can be printed: `U+0078 'x'`, Go's `%#U`.
#[derive(Clone, Copy, Debug)]
pub struct GoNumbered(pub char);

impl Display for GoNumbered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "U+{:04X}", u32::from(self.0))?;
        match is_printable(self.0) {
            true => write!(f, " '{}'", self.0),
            false => Ok(()),
        }
    }
}

/// Bytes that ought to be a text, shown in quotation marks; those that are not UTF-8 show as `\xff`.
#[derive(Clone, Copy, Debug)]
pub struct GoQuotedBytes<'a>(pub &'a [u8]);

impl Display for GoQuotedBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            write_escaped(f, '"', chunk.valid())?;
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        f.write_char('"')
    }
}

/// A text that ought to be a time or a duration, in quotation marks as Go's package `time` has it: all past ASCII shows byte by byte,
/// and so do the characters below the space.
#[derive(Clone, Copy, Debug)]
pub struct GoTimeQuoted<'a>(pub &'a str);

impl Display for GoTimeQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for byte in self.0.bytes() {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte)),
                ..b' ' | 0x80.. => write!(f, "\\x{byte:02x}"),
                plain => f.write_char(char::from(plain)),
            }?;
        }
        f.write_char('"')
    }
}

/// The text in quotation marks.
pub fn go_quote(text: &str) -> String {
    GoQuoted(text).to_string()
}

fn write_quoted(f: &mut fmt::Formatter<'_>, mark: char, text: &str) -> fmt::Result {
    f.write_char(mark)?;
    write_escaped(f, mark, text)?;
    f.write_char(mark)
}

fn write_escaped(f: &mut fmt::Formatter<'_>, mark: char, text: &str) -> fmt::Result {
    let mut plain = 0;
    for (at, c) in text.char_indices() {
        if c != mark && c != '\\' && is_printable(c) {
            continue;
        }
        f.write_str(&text[plain..at])?;
        plain = at + c.len_utf8();
        match c {
            '\u{7}' => f.write_str("\\a"),
            '\u{8}' => f.write_str("\\b"),
            '\u{c}' => f.write_str("\\f"),
            '\n' => f.write_str("\\n"),
            '\r' => f.write_str("\\r"),
            '\t' => f.write_str("\\t"),
            '\u{b}' => f.write_str("\\v"),
            '\\' => f.write_str("\\\\"),
            _ if c == mark => write!(f, "\\{mark}"),
            _ => match u32::from(c) {
                code @ (..0x20 | 0x7f) => write!(f, "\\x{code:02x}"),
                code @ ..0x10000 => write!(f, "\\u{code:04x}"),
                code => write!(f, "\\U{code:08x}"),
            },
        }?;
    }
    f.write_str(&text[plain..])
}

#[cfg(test)]
mod tests;
