//! Writes values as YAML, to the letter as kubectl does: keys in natural order, lists level with their key, texts quoted only where they must be,
//! long lines folded after 80 columns.
//! Invariant: the output of a value never depends on anything but the value.
//! Behaviour follows the encoder and emitter of `go.yaml.in/yaml/v2`.

use super::scalar::{self, Meaning};
use serde_json::Value;
use std::cmp::Ordering;

const WIDTH: usize = 80;

/// One document, ending in a newline.
pub fn write(value: &Value) -> String {
    let mut w = Writer {
        out: String::new(),
        column: 0,
    };
    w.node(value, 0, false);
    if !w.out.ends_with('\n') {
        w.put("\n");
    }
    w.out
}

struct Writer {
    out: String,
    /// How many characters stand on the current line.
    column: usize,
}

impl Writer {
    fn put(&mut self, text: &str) {
        self.out.push_str(text);
        match text.rfind('\n') {
            Some(at) => self.column = text[at + 1..].chars().count(),
            None => self.column += text.chars().count(),
        }
    }

    fn line(&mut self, indent: usize) {
        if !self.out.is_empty() && !self.out.ends_with('\n') {
            self.put("\n");
        }
        self.put(&" ".repeat(indent));
    }

    /// Writes a node whose own lines are indented by `indent`; `inline` when the first of them follows a `- `.
    fn node(&mut self, value: &Value, indent: usize, inline: bool) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                let mut keys: Vec<&String> = map.keys().collect();
                keys.sort_by(|a, b| natural(a, b));
                for (i, key) in keys.into_iter().enumerate() {
                    if i > 0 || !inline {
                        self.line(indent);
                    }
                    self.text(key, indent, true);
                    self.put(":");
                    self.member(&map[key], indent);
                }
            }
            Value::Array(list) if !list.is_empty() => {
                for (i, item) in list.iter().enumerate() {
                    if i > 0 || !inline {
                        self.line(indent);
                    }
                    self.put("- ");
                    self.node(item, indent + 2, true);
                }
            }
            scalar => self.scalar(scalar, indent),
        }
    }

    fn member(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Object(m) if !m.is_empty() => self.node(value, indent + 2, false),
            Value::Array(l) if !l.is_empty() => self.node(value, indent, false),
            _ => {
                self.put(" ");
                self.scalar(value, indent + 2);
            }
        }
    }

    fn scalar(&mut self, value: &Value, indent: usize) {
        match value {
            Value::Null => self.put("null"),
            Value::Bool(b) => self.put(&b.to_string()),
            Value::Number(n) => self.put(&number(n)),
            Value::Object(_) => self.put("{}"),
            Value::Array(_) => self.put("[]"),
            Value::String(s) => self.text(s, indent, false),
        }
    }

    fn text(&mut self, s: &str, indent: usize, key: bool) {
        let facts = Facts::of(s);
        let plain = scalar::resolve(s) == Meaning::Text && !scalar::is_base60(s);
        if s.contains('\n') && !key && facts.block {
            self.literal(s, indent);
        } else if s.contains('\n') || !plain {
            self.double(s, indent, key);
        } else if facts.plain {
            self.folded(s, indent, key);
        } else if facts.single {
            self.single(s, indent, key);
        } else {
            self.double(s, indent, key);
        }
    }

    fn literal(&mut self, s: &str, indent: usize) {
        self.put("|");
        if s.starts_with([' ', '\n']) {
            self.put("2");
        }
        if !s.ends_with('\n') {
            self.put("-");
        } else if s == "\n" || s.ends_with("\n\n") {
            self.put("+");
        }
        self.put("\n");
        for line in s.split_inclusive('\n') {
            if line != "\n" {
                self.put(&" ".repeat(indent));
            }
            self.put(line);
        }
    }

    fn folded(&mut self, s: &str, indent: usize, key: bool) {
        self.fold(s, indent, key, 0, |w, c| w.put(c.encode_utf8(&mut [0; 4])));
    }

    fn single(&mut self, s: &str, indent: usize, key: bool) {
        self.put("'");
        self.fold(s, indent, key, 1, |w, c| {
            if c == '\'' {
                w.put("''")
            } else {
                w.put(c.encode_utf8(&mut [0; 4]))
            }
        });
        self.put("'");
    }

    /// Writes the characters, breaking the line at a lone space past the width. `margin` spaces at either end are never broken at.
    fn fold(
        &mut self,
        s: &str,
        indent: usize,
        key: bool,
        margin: usize,
        put: impl Fn(&mut Self, char),
    ) {
        let chars: Vec<char> = s.chars().collect();
        let mut spaces = false;
        for (i, c) in chars.iter().enumerate() {
            let inside = i >= margin && i + margin < chars.len();
            if *c == ' ' {
                if !key
                    && !spaces
                    && self.column > WIDTH
                    && inside
                    && chars.get(i + 1) != Some(&' ')
                {
                    self.line(indent);
                } else {
                    self.put(" ");
                }
                spaces = true;
            } else {
                put(self, *c);
                spaces = false;
            }
        }
    }

    fn double(&mut self, s: &str, indent: usize, key: bool) {
        self.put("\"");
        let chars: Vec<char> = s.chars().collect();
        let mut spaces = false;
        for (i, c) in chars.iter().enumerate() {
            if *c == ' ' {
                if !key && !spaces && self.column > WIDTH && i > 0 && i + 1 < chars.len() {
                    self.line(indent);
                    if chars[i + 1] == ' ' {
                        self.put("\\");
                    }
                } else {
                    self.put(" ");
                }
                spaces = true;
                continue;
            }
            spaces = false;
            self.put(&escape(*c));
        }
        self.put("\"");
    }
}

fn escape(c: char) -> String {
    match c {
        '\0' => "\\0".into(),
        '\x07' => "\\a".into(),
        '\x08' => "\\b".into(),
        '\t' => "\\t".into(),
        '\n' => "\\n".into(),
        '\x0b' => "\\v".into(),
        '\x0c' => "\\f".into(),
        '\r' => "\\r".into(),
        '\x1b' => "\\e".into(),
        '"' => "\\\"".into(),
        '\\' => "\\\\".into(),
        '\u{85}' => "\\N".into(),
        '\u{a0}' => "\\_".into(),
        '\u{2028}' => "\\L".into(),
        '\u{2029}' => "\\P".into(),
        c if printable(c) => c.to_string(),
        c if (c as u32) <= 0xff => format!("\\x{:02X}", c as u32),
        c if (c as u32) <= 0xffff => format!("\\u{:04X}", c as u32),
        c => format!("\\U{:08X}", c as u32),
    }
}

fn printable(c: char) -> bool {
    matches!(c, '\n' | '\x20'..='\x7e' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fefe}' | '\u{ff00}'..='\u{fffd}')
}

fn is_break(c: char) -> bool {
    matches!(c, '\r' | '\n' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

/// In which styles a text may be written.
struct Facts {
    plain: bool,
    single: bool,
    block: bool,
}

impl Facts {
    fn of(s: &str) -> Facts {
        let chars: Vec<char> = s.chars().collect();
        let last = chars.len().saturating_sub(1);
        let (
            mut indicators,
            mut special,
            mut lead,
            mut trail,
            mut break_space,
            mut space_break,
            mut breaks,
        ) = (
            s.starts_with("---") || s.starts_with("..."),
            false,
            false,
            false,
            false,
            false,
            false,
        );
        let mut trailing_space = false;
        let (mut previous_space, mut previous_break) = (false, false);
        for (i, &c) in chars.iter().enumerate() {
            let blank_after = chars
                .get(i + 1)
                .is_none_or(|n| *n == ' ' || *n == '\t' || is_break(*n));
            let blank_before =
                i == 0 || matches!(chars[i - 1], ' ' | '\t') || is_break(chars[i - 1]);
            indicators |= match c {
                '#' | ',' | '[' | ']' | '{' | '}' | '&' | '*' | '!' | '|' | '>' | '\'' | '"'
                | '%' | '@' | '`'
                    if i == 0 =>
                {
                    true
                }
                '?' | '-' if i == 0 => blank_after,
                ':' => blank_after,
                '#' => blank_before,
                _ => false,
            };
            special |= !printable(c) && !is_break(c) || c == '\r';
            if c == ' ' {
                lead |= i == 0;
                trail |= i == last;
                trailing_space |= i == last;
                break_space |= previous_break;
                (previous_space, previous_break) = (true, false);
            } else if is_break(c) {
                breaks = true;
                lead |= i == 0;
                trail |= i == last;
                space_break |= previous_space;
                (previous_space, previous_break) = (false, true);
            } else {
                (previous_space, previous_break) = (false, false);
            }
        }
        let odd = space_break || special;
        Facts {
            plain: !(indicators || lead || trail || break_space || odd || breaks),
            single: !(break_space || odd),
            block: !(trailing_space || odd),
        }
    }
}

fn number(n: &serde_json::Number) -> String {
    let Some(f) = n.as_f64().filter(|_| n.is_f64()) else {
        return n.to_string();
    };
    if f == f.trunc() && f.abs() < 1e21 {
        return format!("{f:.0}");
    }
    if (1e-6..1e21).contains(&f.abs()) {
        return f.to_string();
    }
    let text = format!("{f:e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    format!(
        "{mantissa}e{}{:02}",
        if exponent < 0 { '-' } else { '+' },
        exponent.abs()
    )
}

/// The order of keys: letters before the rest, numbers by their size.
fn natural(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits = false;
    for i in 0..a.len().min(b.len()) {
        let (x, y) = (a[i], b[i]);
        if x == y {
            digits = x.is_ascii_digit();
            continue;
        }
        let (xl, yl) = (x.is_alphabetic(), y.is_alphabetic());
        if xl && yl {
            return x.cmp(&y);
        }
        if xl || yl {
            let less = if digits { xl } else { yl };
            return if less {
                Ordering::Less
            } else {
                Ordering::Greater
            };
        }
        return by_number(&a, &b, i);
    }
    a.len().cmp(&b.len())
}

fn by_number(a: &[char], b: &[char], i: usize) -> Ordering {
    let lead = (a[i] == '0' || b[i] == '0')
        && a[..i]
            .iter()
            .rev()
            .take_while(|c| c.is_ascii_digit())
            .any(|c| *c != '0');
    let run = |s: &[char]| {
        let digits: Vec<u64> = s[i..]
            .iter()
            .take_while(|c| c.is_ascii_digit())
            .map(|c| *c as u64 - 48)
            .collect();
        (
            digits
                .iter()
                .fold(u64::from(lead), |n, d| n.wrapping_mul(10).wrapping_add(*d)),
            digits.len(),
        )
    };
    let ((an, al), (bn, bl)) = (run(a), run(b));
    an.cmp(&bn).then(al.cmp(&bl)).then(a[i].cmp(&b[i]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_kubectl_writes_them() {
        let cases = [
            (
                json!({"b": 1, "a": [1, {"x": "y", "z": []}], "c": {}}),
                "a:\n- 1\n- x: \"y\"\n  z: []\nb: 1\nc: {}\n",
            ),
            (json!({"k": "line\nmore\n"}), "k: |\n  line\n  more\n"),
            (json!({"k": "line\nmore"}), "k: |-\n  line\n  more\n"),
            (json!({"k": ["a\nb\n"]}), "k:\n- |\n  a\n  b\n"),
            (json!({"k": " a\nb"}), "k: |2-\n   a\n  b\n"),
            (json!({"k": "a \nb"}), "k: \"a \\nb\"\n"),
            (json!({"k": "tab\there"}), "k: \"tab\\there\"\n"),
            (
                json!([
                    "*/5 * * * *",
                    "@daily",
                    "- x",
                    "a: b",
                    "a #b",
                    "",
                    "true",
                    "12",
                    "1e3",
                    "null",
                    "2026-01-02T03:04:05Z",
                    "it's",
                    "a:b"
                ]),
                "- '*/5 * * * *'\n- '@daily'\n- '- x'\n- 'a: b'\n- 'a #b'\n- \"\"\n- \"true\"\n- \"12\"\n- \"1e3\"\n- \"null\"\n- \"2026-01-02T03:04:05Z\"\n- it's\n- a:b\n",
            ),
            (json!([[1, 2], []]), "- - 1\n  - 2\n- []\n"),
            (
                json!({"a10": 1, "a9": 2, "A": 3, "a-b": 4, "1": 5}),
                "\"1\": 5\nA: 3\na-b: 4\na9: 2\na10: 1\n",
            ),
        ];
        for (value, want) in cases {
            assert_eq!(write(&value), want);
            assert_eq!(super::super::read(&write(&value)).unwrap()[0].value, value);
        }
    }

    #[test]
    fn long_lines_are_folded() {
        let text = format!("{} bb cc", "a".repeat(90));
        assert_eq!(
            write(&json!({"k": text})),
            format!("k: {}\n  bb cc\n", "a".repeat(90))
        );
    }
}
