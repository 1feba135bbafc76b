//! Changes of texts that have words and brackets.

use crate::Random;

/// What is odd in any language.
const ODD: &[&str] = &[
    "",
    " ",
    "\n",
    "\t",
    "'",
    "\"",
    "`",
    "\\",
    "%",
    "%zz",
    "%00",
    "\u{7f}",
    "\u{85}",
    "\u{a0}",
    "\u{2028}",
    "\u{feff}",
    "\u{fffd}",
    "\u{10ffff}",
    "é",
    "e\u{301}",
    "ﷺ",
    "0",
    "-0",
    "-1",
    "00",
    "1e400",
    "1e-400",
    "0x",
    "0.",
    ".0",
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "99999999999999999999999999",
    "4294967296",
    "2147483648",
    "NaN",
    "inf",
    "null",
    "true",
    "~",
    "!!binary",
    "&a",
    "*a",
    "<<",
    "---",
    "...",
    "{}",
    "[]",
    "()",
    ",",
    ";",
    ":",
    "=",
    "!=",
    "==",
    ".",
    "..",
    "/",
    "//",
    "*",
    "+",
    "-",
    "?",
    "|",
    "$",
    "@",
    "#",
    "^",
    "\\Q",
    "(?i",
    "(?:",
    "[^",
    "[[:alpha:]]",
    "\\pL",
    "{0,1000}",
    "{1,",
    "x{1000}",
];
const BRACKETS: &[(&str, &str)] = &[
    ("(", ")"),
    ("[", "]"),
    ("{", "}"),
    ("{{", "}}"),
    ("{\"a\":", "}"),
    ("(a*", ")*"),
    ("- ", ""),
    ("!", ""),
    ("-", ""),
    ("[a,", "]"),
    ("\"", "\""),
    ("{{if .}}", "{{end}}"),
    ("true?1:", ""),
    ("..", ""),
];

/// A text with one change.
pub fn changed(text: &[u8], other: &[u8], words: &[&str], random: &mut Random) -> Vec<u8> {
    let mut text = text.to_vec();
    let (from, to) = piece(&text, random);
    match random.below(10) {
        0 => drop(text.drain(from..to)),
        1 => {
            let odd = *random.of(ODD).unwrap_or(&"");
            text.splice(from..to, odd.bytes());
        }
        2 | 3 => {
            let word = *random.of(words).or(random.of(ODD)).unwrap_or(&"");
            let to = if random.one_in(2) { from } else { to };
            text.splice(from..to, word.bytes());
        }
        4 => {
            let (begin, end) = piece(other, random);
            let to = if random.one_in(2) { from } else { to };
            text.splice(from..to, other[begin..end].iter().copied());
        }
        5 => {
            let again = text[from..to].repeat(1 + random.length(32));
            text.splice(to..to, again);
        }
        // so often that what takes time does
        6 => {
            let many = random.length(8000) / (to - from).max(1);
            let again = text[from..to].repeat(many);
            text.splice(to..to, again);
        }
        7 => {
            let (open, close) = *random.of(BRACKETS).unwrap_or(&("", ""));
            let many = random.length(3000);
            text.splice(to..to, close.repeat(many).bytes());
            text.splice(from..from, open.repeat(many).bytes());
        }
        8 => {
            if let Some(byte) = text.get_mut(from) {
                *byte = byte.wrapping_add(random.number() as u8).max(1);
            }
        }
        _ => text.truncate(to),
    }
    text
}

/// A place in a text: one word as a rule, or some bytes.
fn piece(text: &[u8], random: &mut Random) -> (usize, usize) {
    let from = random.below(text.len() + 1);
    if random.one_in(4) {
        return (from, from + random.length(text.len() - from));
    }
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
    let Some(byte) = text.get(from) else {
        return (from, from);
    };
    if !is_word(byte) {
        return (from, from + 1);
    }
    let begin = text[..from]
        .iter()
        .rposition(|byte| !is_word(byte))
        .map_or(0, |at| at + 1);
    let end = text[from..]
        .iter()
        .position(|byte| !is_word(byte))
        .map_or(text.len(), |at| from + at);
    (begin, end)
}
