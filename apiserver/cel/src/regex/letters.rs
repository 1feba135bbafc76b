//! Letters, escapes, and classes of letters in brackets.
//!
//! Invariant: as in [`super::syntax`]. Functions take a text that begins with what they read, write it, and give what follows it.

use super::fault::{Code, Rest, SyntaxError, before, error, split};
use super::unicode;

/// What holds no letter.
const NOTHING: &str = r"[^\x{0}-\x{10FFFF}]";

/// A letter that means itself.
pub fn literal(out: &mut String, letter: char) {
    range(out, letter as u32, letter as u32);
}

/// The letters from one to another. Go knows surrogates as letters that no text has; the crate does not know them.
fn range(out: &mut String, low: u32, high: u32) {
    let from = char::from_u32(low).unwrap_or('\u{e000}');
    let to = char::from_u32(high).unwrap_or('\u{d7ff}');
    if from > to {
        return out.push_str(NOTHING);
    }
    one(out, from);
    if from != to {
        out.push('-');
        one(out, to);
    }
}

fn one(out: &mut String, letter: char) {
    if letter.is_ascii() && !letter.is_ascii_alphanumeric() {
        out.push_str(&format!("\\x{:02x}", letter as u32));
    } else {
        out.push(letter);
    }
}

/// A class of letters in brackets.
pub fn class<'t>(text: &'t str, out: &mut String) -> Rest<'t> {
    out.push('[');
    let mut rest = &text[1..];
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    let mut first = true;
    while first || !rest.starts_with(']') {
        first = false;
        if let Some(after) = named_class(rest, out)? {
            rest = after;
            continue;
        }
        if let Some(after) = shared_class(rest, out)? {
            rest = after;
            continue;
        }
        let begun = rest;
        let (low, after) = class_letter(rest, text)?;
        rest = after;
        let mut high = low;
        if let Some(after) = rest.strip_prefix('-')
            && !after.is_empty()
            && !after.starts_with(']')
        {
            (high, rest) = class_letter(after, text)?;
            if high < low {
                return error(Code::CharRange, before(begun, rest));
            }
        }
        range(out, low, high);
    }
    out.push(']');
    Ok(&rest[1..])
}

fn class_letter<'t>(text: &'t str, class: &str) -> Result<(u32, &'t str), SyntaxError> {
    match split(text) {
        None => error(Code::MissingBracket, class),
        Some(('\\', _)) => letter(text),
        Some((letter, rest)) => Ok((letter as u32, rest)),
    }
}

const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct",
    "space", "upper", "word", "xdigit",
];

/// `[:alpha:]` within brackets; `None` where there is none.
fn named_class<'t>(text: &'t str, out: &mut String) -> Result<Option<&'t str>, SyntaxError> {
    let Some((name, rest)) = text
        .strip_prefix("[:")
        .and_then(|begun| begun.split_once(":]"))
    else {
        return Ok(None);
    };
    let whole = before(text, rest);
    if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
        return error(Code::CharRange, whole);
    }
    out.push_str(whole);
    Ok(Some(rest))
}

/// `\pL`, `\p{Greek}` and `\d`, which stand within brackets and outside; `None` where there is none.
fn shared_class<'t>(text: &'t str, out: &mut String) -> Result<Option<&'t str>, SyntaxError> {
    let Some((kind, begun)) = text.strip_prefix('\\').and_then(split) else {
        return Ok(None);
    };
    let class = match kind {
        'd' => "[0-9]",
        'D' => "[^0-9]",
        's' => r"[\t\n\f\r ]",
        'S' => r"[^\t\n\f\r ]",
        'w' => "[0-9A-Za-z_]",
        'W' => "[^0-9A-Za-z_]",
        'p' | 'P' => return unicode_class(text, kind == 'P', begun, out).map(Some),
        _ => return Ok(None),
    };
    out.push_str(class);
    Ok(Some(begun))
}

fn unicode_class<'t>(text: &'t str, not: bool, begun: &'t str, out: &mut String) -> Rest<'t> {
    let (name, rest) = match begun.strip_prefix('{') {
        Some(begun) => match begun.split_once('}') {
            Some(found) => found,
            None => return error(Code::CharRange, text),
        },
        None => begun.split_at(begun.chars().next().map_or(0, char::len_utf8)),
    };
    let (not, name) = match name.strip_prefix('^') {
        Some(name) => (!not, name),
        None => (not, name),
    };
    let Some(name) = unicode::known(name) else {
        return error(Code::CharRange, before(text, rest));
    };
    match (name, not) {
        ("Cs" | "Surrogate", false) => out.push_str(NOTHING),
        ("Cs" | "Surrogate", true) => out.push_str("\\p{Any}"),
        (_, false) => out.push_str(&format!("\\p{{{name}}}")),
        (_, true) => out.push_str(&format!("\\P{{{name}}}")),
    }
    Ok(rest)
}

/// What a backslash begins outside of brackets, but for a quoted text.
pub fn escaped<'t>(text: &'t str, out: &mut String) -> Rest<'t> {
    let (written, rest) = match split(&text[1..]) {
        Some(('A', rest)) => ("\\A", rest),
        Some(('z', rest)) => ("\\z", rest),
        Some(('b', rest)) => (r"(?-u:\b)", rest),
        Some(('B', rest)) => (r"(?-u:\B)", rest),
        Some(('C', rest)) => return error(Code::Escape, before(text, rest)),
        _ => {
            if let Some(rest) = shared_class(text, out)? {
                return Ok(rest);
            }
            let (letter, rest) = letter(text)?;
            range(out, letter, letter);
            return Ok(rest);
        }
    };
    out.push_str(written);
    Ok(rest)
}

/// An escaped letter.
fn letter(text: &str) -> Result<(u32, &str), SyntaxError> {
    let Some((escape, rest)) = split(&text[1..]) else {
        return error(Code::TrailingBackslash, "");
    };
    let octal = |rest: &str| rest.starts_with(|c: char| c.is_digit(8));
    match escape {
        // a single digit from 1 on would be a back reference, which Go has not
        '0'..='7' if escape == '0' || octal(rest) => {
            let digits = text[1..].chars().take(3).map_while(|c| c.to_digit(8));
            let (value, length) = digits.fold((0, 0), |(value, n), d| (value * 8 + d, n + 1));
            Ok((value, &text[1 + length..]))
        }
        'x' => hexadecimal(text, rest),
        'a' => Ok((0x7, rest)),
        'f' => Ok((0xc, rest)),
        'n' => Ok((0xa, rest)),
        'r' => Ok((0xd, rest)),
        't' => Ok((0x9, rest)),
        'v' => Ok((0xb, rest)),
        other if other.is_ascii() && !other.is_ascii_alphanumeric() => Ok((other as u32, rest)),
        _ => error(Code::Escape, before(text, rest)),
    }
}

fn hexadecimal<'t>(text: &'t str, begun: &'t str) -> Result<(u32, &'t str), SyntaxError> {
    let mut rest = begun;
    let mut next = || {
        let (letter, after) = split(rest)?;
        rest = after;
        Some(letter)
    };
    let mut value = 0;
    let good = match next() {
        Some('{') => loop {
            match next() {
                Some('}') => break !begun.starts_with("{}"),
                Some(letter) => match letter.to_digit(16) {
                    Some(digit) if value * 16 + digit <= 0x10_ffff => value = value * 16 + digit,
                    _ => break false,
                },
                None => break false,
            }
        },
        Some(high) => match (high.to_digit(16), next().and_then(|low| low.to_digit(16))) {
            (Some(high), Some(low)) => {
                value = high * 16 + low;
                true
            }
            _ => false,
        },
        None => false,
    };
    if good {
        Ok((value, rest))
    } else {
        error(Code::Escape, before(text, rest))
    }
}
