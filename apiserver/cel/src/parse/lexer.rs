//! Cuts a text into tokens: the longest that fits, as upstream's generated lexer does.
//!
//! Invariant: tokens are in order, blanks and comments are none, the last is [`Token::EOF`]. What is no token is told and passed over up to and with the
//! character at which it failed. Follows upstream's `vendor/github.com/google/cel-go/parser/gen/cel_lexer.go`.

use crate::source::Issues;

/// The kinds of tokens, numbered as upstream numbers them.
pub mod kind {
    pub const EQUALS: u8 = 1;
    pub const NOT_EQUALS: u8 = 2;
    pub const IN: u8 = 3;
    pub const LESS: u8 = 4;
    pub const LESS_EQUALS: u8 = 5;
    pub const GREATER_EQUALS: u8 = 6;
    pub const GREATER: u8 = 7;
    pub const AND: u8 = 8;
    pub const OR: u8 = 9;
    pub const LBRACKET: u8 = 10;
    pub const RBRACKET: u8 = 11;
    pub const LBRACE: u8 = 12;
    pub const RBRACE: u8 = 13;
    pub const LPAREN: u8 = 14;
    pub const RPAREN: u8 = 15;
    pub const DOT: u8 = 16;
    pub const COMMA: u8 = 17;
    pub const MINUS: u8 = 18;
    pub const EXCLAM: u8 = 19;
    pub const QUESTION: u8 = 20;
    pub const COLON: u8 = 21;
    pub const PLUS: u8 = 22;
    pub const STAR: u8 = 23;
    pub const SLASH: u8 = 24;
    pub const PERCENT: u8 = 25;
    pub const TRUE: u8 = 26;
    pub const FALSE: u8 = 27;
    pub const NULL: u8 = 28;
    pub const FLOAT: u8 = 31;
    pub const INT: u8 = 32;
    pub const UINT: u8 = 33;
    pub const STRING: u8 = 34;
    pub const BYTES: u8 = 35;
    pub const IDENTIFIER: u8 = 36;
    pub const ESC_IDENTIFIER: u8 = 37;
    pub const EOF: u8 = 0;
}
use kind::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    pub kind: u8,
    /// Offsets in characters; `end` is past the last.
    pub start: u32,
    pub end: u32,
}

/// How a scan ended: past the token, or at the character that did not fit.
type Scan = Result<usize, usize>;

pub fn tokens(chars: &[char], issues: &mut Issues) -> Vec<Token> {
    let mut tokens = Vec::with_capacity(chars.len() / 2 + 1);
    let mut at = 0;
    while at < chars.len() {
        let c = chars[at];
        if matches!(c, ' ' | '\t' | '\r' | '\n' | '\u{c}') {
            at += 1;
            continue;
        }
        if c == '/' && chars.get(at + 1) == Some(&'/') {
            while at < chars.len() && chars[at] != '\n' {
                at += 1;
            }
            continue;
        }
        match token(chars, at) {
            Ok((kind, end)) => {
                tokens.push(Token {
                    kind,
                    start: at as u32,
                    end: end as u32,
                });
                at = end;
            }
            Err(failed) => {
                let end = (failed + 1).min(chars.len());
                let text: String = chars[at..end].iter().collect();
                let text = text
                    .replace('\n', "\\n")
                    .replace('\t', "\\t")
                    .replace('\r', "\\r");
                issues.push(
                    at as u32,
                    format!("Syntax error: token recognition error at: '{text}'"),
                );
                at = failed + 1;
            }
        }
    }
    tokens.push(Token {
        kind: EOF,
        start: chars.len() as u32,
        end: chars.len() as u32,
    });
    tokens
}

/// The token that begins at `at`, and where it ends; or where it failed.
fn token(chars: &[char], at: usize) -> Result<(u8, usize), usize> {
    let next = chars.get(at + 1).copied();
    let one = |kind| Ok((kind, at + 1));
    let two = |second, kind, alone: Option<u8>| match next {
        Some(c) if c == second => Ok((kind, at + 2)),
        _ => alone.map(|kind| (kind, at + 1)).ok_or(at + 1),
    };
    match chars[at] {
        '=' => two('=', EQUALS, None),
        '!' => two('=', NOT_EQUALS, Some(EXCLAM)),
        '<' => two('=', LESS_EQUALS, Some(LESS)),
        '>' => two('=', GREATER_EQUALS, Some(GREATER)),
        '&' => two('&', AND, None),
        '|' => two('|', OR, None),
        '[' => one(LBRACKET),
        ']' => one(RBRACKET),
        '{' => one(LBRACE),
        '}' => one(RBRACE),
        '(' => one(LPAREN),
        ')' => one(RPAREN),
        '.' if next.is_some_and(|c| c.is_ascii_digit()) => {
            Ok((FLOAT, exponent(chars, digits(chars, at + 1))))
        }
        '.' => one(DOT),
        ',' => one(COMMA),
        '-' => one(MINUS),
        '?' => one(QUESTION),
        ':' => one(COLON),
        '+' => one(PLUS),
        '*' => one(STAR),
        '/' => one(SLASH),
        '%' => one(PERCENT),
        '0'..='9' => Ok(number(chars, at)),
        '"' | '\'' => string(chars, at, false).map(|end| (STRING, end)),
        '`' => escaped(chars, at).map(|end| (ESC_IDENTIFIER, end)),
        'a'..='z' | 'A'..='Z' | '_' => Ok(word(chars, at)),
        _ => Err(at),
    }
}

fn digits(chars: &[char], from: usize) -> usize {
    let rest = chars.get(from..).unwrap_or(&[]);
    from + rest.iter().take_while(|c| c.is_ascii_digit()).count()
}

/// Past an exponent, if one stands there.
fn exponent(chars: &[char], at: usize) -> usize {
    if !matches!(chars.get(at), Some('e' | 'E')) {
        return at;
    }
    let sign = matches!(chars.get(at + 1), Some('+' | '-')) as usize;
    let end = digits(chars, at + 1 + sign);
    if end > at + 1 + sign { end } else { at }
}

fn number(chars: &[char], at: usize) -> (u8, usize) {
    let mut end = digits(chars, at);
    if end == at + 1 && chars[at] == '0' && chars.get(end) == Some(&'x') {
        let hex = chars[end + 1..]
            .iter()
            .take_while(|c| c.is_ascii_hexdigit())
            .count();
        if hex > 0 {
            end += 1 + hex;
            return unsigned(chars, end);
        }
    }
    if chars.get(end) == Some(&'.') && digits(chars, end + 1) > end + 1 {
        return (FLOAT, exponent(chars, digits(chars, end + 1)));
    }
    let with_exponent = exponent(chars, end);
    if with_exponent > end {
        return (FLOAT, with_exponent);
    }
    unsigned(chars, end)
}

fn unsigned(chars: &[char], end: usize) -> (u8, usize) {
    if matches!(chars.get(end), Some('u' | 'U')) {
        (UINT, end + 1)
    } else {
        (INT, end)
    }
}

/// An identifier, a keyword, or a string with a prefix.
fn word(chars: &[char], at: usize) -> (u8, usize) {
    if let Some(found) = prefixed(chars, at) {
        return found;
    }
    let length = chars[at..]
        .iter()
        .take_while(|c| c.is_ascii_alphanumeric() || **c == '_')
        .count();
    let end = at + length;
    let is = |word: &str| word.len() == length && word.chars().eq(chars[at..end].iter().copied());
    let kind = match chars[at] {
        'i' if is("in") => IN,
        't' if is("true") => TRUE,
        'f' if is("false") => FALSE,
        'n' if is("null") => NULL,
        _ => IDENTIFIER,
    };
    (kind, end)
}

/// `r'..'`, `b'..'`, `br'..'`: a string behind its prefix, if it ends.
fn prefixed(chars: &[char], at: usize) -> Option<(u8, usize)> {
    let is = |at: usize, small: char| {
        let c = chars.get(at).copied().unwrap_or(' ');
        c.to_ascii_lowercase() == small
    };
    let bytes = is(at, 'b') as usize;
    let raw = is(at + bytes, 'r') as usize;
    let quote = at + bytes + raw;
    if bytes + raw == 0 || !matches!(chars.get(quote), Some('"' | '\'')) {
        return None;
    }
    let end = string(chars, quote, raw == 1).ok()?;
    Some((if bytes == 1 { BYTES } else { STRING }, end))
}

/// A string whose opening quote stands at `at`.
fn string(chars: &[char], at: usize, raw: bool) -> Scan {
    let quote = chars[at];
    let triple = chars.get(at + 1) == Some(&quote) && chars.get(at + 2) == Some(&quote);
    if triple {
        // what does not end as a long string begins with an empty one
        return Ok(long(chars, at, quote, raw).unwrap_or(at + 2));
    }
    let mut end = at + 1;
    loop {
        match chars.get(end) {
            None | Some('\n' | '\r') => return Err(end),
            Some(c) if *c == quote => return Ok(end + 1),
            Some('\\') if !raw => end = escape(chars, end)?,
            Some(_) => end += 1,
        }
    }
}

fn long(chars: &[char], at: usize, quote: char, raw: bool) -> Scan {
    let mut end = at + 3;
    loop {
        match chars.get(end) {
            None => return Err(end),
            Some(c)
                if *c == quote
                    && chars.get(end + 1) == Some(&quote)
                    && chars.get(end + 2) == Some(&quote) =>
            {
                return Ok(end + 3);
            }
            Some('\\') if !raw => end = escape(chars, end)?,
            Some(_) => end += 1,
        }
    }
}

/// Past an escape sequence whose backslash stands at `at`.
fn escape(chars: &[char], at: usize) -> Scan {
    let (count, fits): (usize, fn(&char) -> bool) = match chars.get(at + 1) {
        Some('a' | 'b' | 'f' | 'n' | 'r' | 't' | 'v' | '"' | '\'' | '\\' | '?' | '`') => {
            return Ok(at + 2);
        }
        Some('x' | 'X') => (2, char::is_ascii_hexdigit),
        Some('u') => (4, char::is_ascii_hexdigit),
        Some('U') => (8, char::is_ascii_hexdigit),
        Some('0'..='3') => (2, |c| ('0'..='7').contains(c)),
        _ => return Err(at + 1),
    };
    for i in 0..count {
        if !chars.get(at + 2 + i).is_some_and(fits) {
            return Err(at + 2 + i);
        }
    }
    Ok(at + 2 + count)
}

/// An identifier between backticks.
fn escaped(chars: &[char], at: usize) -> Scan {
    let fits = |c: &&char| c.is_ascii_alphanumeric() || matches!(**c, '_' | '.' | '-' | '/' | ' ');
    let end = at + 1 + chars[at + 1..].iter().take_while(fits).count();
    if end > at + 1 && chars.get(end) == Some(&'`') {
        Ok(end + 1)
    } else {
        Err(end)
    }
}
