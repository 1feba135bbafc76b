//! Texts, characters and numbers as Go templates have them.
//! Behaviour follows Go's `strconv` and `text/template/parse/node.go`.

use super::tree::Number;
use crate::error::quote;

/// What a quoted text stands for.
///
/// # Errors
/// Go's words for what is wrong with it.
pub fn unquoted(text: &str) -> Result<String, String> {
    if let Some(raw) = text.strip_prefix('`').and_then(|t| t.strip_suffix('`')) {
        return Ok(raw.replace('\r', ""));
    }
    let mut out = Vec::new();
    let mut chars = text[1..text.len() - 1].chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '\\' => match escaped(&mut chars).ok_or("invalid syntax")? {
                Escaped::Char(c) => c,
                Escaped::Byte(byte) => {
                    out.push(byte);
                    continue;
                }
            },
            c => c,
        };
        out.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    Ok(String::from_utf8_lossy(&out).into_owned())
}

enum Escaped {
    Char(char),
    Byte(u8),
}

fn escaped(chars: &mut std::str::Chars) -> Option<Escaped> {
    let c = chars.next()?;
    let mut digits = |count: usize, base: u32, first: &str| {
        let digits: String = first.chars().chain(chars.take(count)).collect();
        u32::from_str_radix(&digits, base).ok()
    };
    Some(match c {
        'a' => Escaped::Char('\x07'),
        'b' => Escaped::Char('\x08'),
        'f' => Escaped::Char('\x0c'),
        'n' => Escaped::Char('\n'),
        'r' => Escaped::Char('\r'),
        't' => Escaped::Char('\t'),
        'v' => Escaped::Char('\x0b'),
        '\\' | '"' | '\'' => Escaped::Char(c),
        'x' => Escaped::Byte(u8::try_from(digits(2, 16, "")?).ok()?),
        'u' => Escaped::Char(char::from_u32(digits(4, 16, "")?)?),
        'U' => Escaped::Char(char::from_u32(digits(8, 16, "")?)?),
        '0'..='7' => Escaped::Byte(u8::try_from(digits(2, 8, &c.to_string())?).ok()?),
        _ => return None,
    })
}

/// What a number or a character stands for.
///
/// # Errors
/// Go's words for what is wrong with it.
pub fn number(text: &str) -> Result<Number, String> {
    let wrong = || format!("illegal number syntax: {}", quote(text));
    if let Some(inner) = text.strip_prefix('\'') {
        let inner = inner.strip_suffix('\'').unwrap_or(inner);
        let mut chars = inner.chars();
        let c = match chars.next() {
            Some('\\') => match escaped(&mut chars) {
                Some(Escaped::Char(c)) => Some(c),
                Some(Escaped::Byte(byte)) => Some(char::from(byte)),
                None => None,
            },
            c => c,
        };
        return match (c, chars.next()) {
            (Some(c), None) => Ok(Number::Int(i64::from(u32::from(c)))),
            _ => Err(format!("malformed character constant: {text}")),
        };
    }
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, whole) = match lower.get(..2) {
        Some("0x") => (16, &lower[2..]),
        Some("0o") => (8, &lower[2..]),
        Some("0b") => (2, &lower[2..]),
        _ if lower.len() > 1
            && lower.bytes().all(|b| b.is_ascii_digit())
            && lower.starts_with('0') =>
        {
            (8, &lower[1..])
        }
        _ => (10, lower.as_str()),
    };
    if let Ok(whole) = i128::from_str_radix(whole, base) {
        let signed = if negative { -whole } else { whole };
        return i64::try_from(signed)
            .map(Number::Int)
            .map_err(|_| format!("integer overflow: {}", quote(text)));
    }
    match plain.parse::<f64>() {
        // A float that is whole may stand for an integer, which it is not when it is given as it is.
        Ok(float) if base == 10 => Ok(Number::Float(float)),
        _ => Err(wrong()),
    }
}
