//! The value of a string or bytes literal. Follows upstream's `vendor/github.com/google/cel-go/parser/unescape.go`.
//!
//! Invariant: the literal has passed the lexer, so quotes match; what can still be wrong is a code point that does not exist.

/// Why a literal has no value. The texts are upstream's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnescapeError {
    #[error("unable to unescape string")]
    Shape,
    #[error("invalid unicode code point")]
    CodePoint,
}

/// What stands between the quotes, ends of lines made `\n`; and whether it is raw.
fn inner(literal: &str) -> Result<(String, bool), UnescapeError> {
    let text = literal.replace("\r\n", "\n").replace('\r', "\n");
    let (text, raw) = match text.strip_prefix(['r', 'R']) {
        Some(rest) => (rest.to_owned(), true),
        None => (text, false),
    };
    let quote = text.chars().next().ok_or(UnescapeError::Shape)?;
    let long: String = [quote; 3].iter().collect();
    let width = if text.len() >= 6 && text.starts_with(&long) && text.ends_with(&long) {
        3
    } else {
        1
    };
    let end = text.len().checked_sub(width).ok_or(UnescapeError::Shape)?;
    let between = text.get(width..end).ok_or(UnescapeError::Shape)?;
    Ok((between.to_owned(), raw))
}

pub fn string(literal: &str) -> Result<String, UnescapeError> {
    let (text, raw) = inner(literal)?;
    if raw || !text.contains('\\') {
        return Ok(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        let code = match escape(&mut chars, false)? {
            Escape::Plain(c) => c as u32,
            Escape::Number(n) => n,
        };
        out.push(char::from_u32(code).ok_or(UnescapeError::CodePoint)?);
    }
    Ok(out)
}

/// The same for bytes: octal and hexadecimal sequences are bytes.
pub fn bytes(literal: &str) -> Result<Vec<u8>, UnescapeError> {
    let (text, raw) = inner(literal)?;
    if raw || !text.contains('\\') {
        return Ok(text.into_bytes());
    }
    let mut out = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        match escape(&mut chars, true)? {
            Escape::Plain(c) => out.push(c as u8),
            Escape::Number(n) => out.push(n as u8),
        }
    }
    Ok(out)
}

enum Escape {
    Plain(char),
    Number(u32),
}

fn escape(chars: &mut std::str::Chars<'_>, bytes: bool) -> Result<Escape, UnescapeError> {
    let number = |chars: &mut std::str::Chars<'_>, count: usize, radix: u32, first: u32| {
        let mut value = first;
        for _ in 0..count {
            let digit = chars.next().and_then(|c| c.to_digit(radix));
            value = value
                .checked_mul(radix)
                .and_then(|v| v.checked_add(digit?))
                .ok_or(UnescapeError::CodePoint)?;
        }
        Ok(Escape::Number(value))
    };
    let c = chars.next().ok_or(UnescapeError::Shape)?;
    Ok(Escape::Plain(match c {
        'a' => '\u{7}',
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'v' => '\u{b}',
        '\\' | '\'' | '"' | '`' | '?' => c,
        'x' | 'X' => return number(chars, 2, 16, 0),
        'u' if !bytes => return number(chars, 4, 16, 0),
        'U' if !bytes => return number(chars, 8, 16, 0),
        '0'..='3' => return number(chars, 2, 8, c as u32 - '0' as u32),
        _ => return Err(UnescapeError::Shape),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals() {
        for (literal, value) in [
            (r"'a\tb'", Ok("a\tb")),
            (r#""""a"b""""#, Ok("a\"b")),
            (r"r'\d'", Ok(r"\d")),
            (r"'\u00e9\x41\101'", Ok("éAA")),
            (r"'\ud800'", Err(UnescapeError::CodePoint)),
            ("'''a\r\nb'''", Ok("a\nb")),
            ("''", Ok("")),
        ] {
            assert_eq!(string(literal), value.map(str::to_owned), "{literal}");
        }
        assert_eq!(bytes(r"'\xff\101é'").unwrap(), [0xff, 65, 0xc3, 0xa9]);
        assert_eq!(bytes(r"'\u0041'"), Err(UnescapeError::Shape));
    }
}
