//! The words of Go's `encoding/json` for text that is no JSON. Runs on the error path only.
//!
//! Follows the states of Go's `encoding/json/scanner.go`.

use crate::machinery::quote::GoQuotedChar;

/// What Go says of `text`; `None` when it is valid JSON.
pub fn syntax_error(text: &[u8]) -> Option<String> {
    if let Some(said) = too_deep(text) {
        return Some(said);
    }
    if deeper(text, DEEPEST).is_some() {
        return Some("exceeded max depth".into());
    }
    let mut scanner = Scanner {
        text,
        at: 0,
        depth: 0,
    };
    match scanner.value().and_then(|()| scanner.end()) {
        Ok(()) => None,
        Err(Some(said)) => Some(said),
        Err(None) => Some("unexpected end of JSON input".into()),
    }
}

/// The same with how many bytes Go had read then; `None` also for text that only ends too early.
pub fn syntax_error_at(text: &[u8]) -> Option<(usize, String)> {
    if too_deep(text).is_some() || deeper(text, DEEPEST).is_some() {
        return None;
    }
    let mut scanner = Scanner {
        text,
        at: 0,
        depth: 0,
    };
    match scanner.value() {
        Err(Some(said)) => Some((scanner.at + 1, said)),
        _ => None,
    }
}

/// What Go says of reading `text` into a map; `None` when it is a JSON object or null.
pub fn object_error(text: &[u8]) -> Option<String> {
    syntax_error(text).or_else(|| {
        let found = match text.trim_ascii_start().first()? {
            b'{' | b'n' => return None,
            b'[' => "array",
            b'"' => "string",
            b't' | b'f' => "bool",
            _ => "number",
        };
        Some(format!(
            "json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"
        ))
    })
}

/// The scanner below calls itself for each level, so it is not let loose on text that was made to be deep. Nothing that is read goes so far.
const DEEPEST: usize = 1000;

/// How deeply Go lets documents be nested.
const GO_DEPTH: usize = 10_000;

/// The bracket, outside of strings, that stands within more than `limit` others.
fn deeper(text: &[u8], limit: usize) -> Option<char> {
    let (mut depth, mut quoted, mut escaped) = (0usize, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => {
                depth += 1;
                if depth > limit {
                    return Some(char::from(*byte));
                }
            }
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// What Go says of a document that is nested too deeply for it.
pub fn too_deep(text: &[u8]) -> Option<String> {
    deeper(text, GO_DEPTH)
        .map(|bracket| format!("invalid character '{bracket}' exceeded max depth"))
}

/// Go's `quoteChar`: a byte is taken for the character of its number.
fn quoted(c: u8) -> String {
    GoQuotedChar(c.into()).to_string()
}

/// `None`: the text ended too early.
type Fault = Option<String>;

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl Scanner<'_> {
    fn next(&mut self) -> Result<u8, Fault> {
        let c = *self.text.get(self.at).ok_or(None)?;
        self.at += 1;
        Ok(c)
    }

    fn next_solid(&mut self) -> Result<u8, Fault> {
        loop {
            let c = self.next()?;
            if !matches!(c, b' ' | b'\t' | b'\r' | b'\n') {
                return Ok(c);
            }
        }
    }

    fn bad(c: u8, context: &str) -> Fault {
        Some(format!("invalid character {} {context}", quoted(c)))
    }

    fn end(&mut self) -> Result<(), Fault> {
        match self.next_solid() {
            Err(_) => Ok(()),
            Ok(c) => Err(Self::bad(c, "after top-level value")),
        }
    }

    fn value(&mut self) -> Result<(), Fault> {
        let c = self.next_solid()?;
        self.value_from(c)
    }

    fn value_from(&mut self, c: u8) -> Result<(), Fault> {
        match c {
            b'{' => self.nested(Self::object),
            b'[' => self.nested(Self::array),
            b'"' => self.string(),
            b't' => self.literal("true"),
            b'f' => self.literal("false"),
            b'n' => self.literal("null"),
            b'-' | b'0'..=b'9' => self.number(c),
            c => Err(Self::bad(c, "looking for beginning of value")),
        }
    }

    fn nested(&mut self, read: fn(&mut Self) -> Result<(), Fault>) -> Result<(), Fault> {
        self.depth += 1;
        if self.depth > 2_000 {
            return Err(Some("exceeded max depth".into()));
        }
        let done = read(self);
        self.depth -= 1;
        done
    }

    fn object(&mut self) -> Result<(), Fault> {
        let mut c = self.next_solid()?;
        if c == b'}' {
            return Ok(());
        }
        loop {
            if c != b'"' {
                return Err(Self::bad(c, "looking for beginning of object key string"));
            }
            self.string()?;
            match self.next_solid()? {
                b':' => self.value()?,
                c => return Err(Self::bad(c, "after object key")),
            }
            match self.next_solid()? {
                b'}' => return Ok(()),
                b',' => c = self.next_solid()?,
                c => return Err(Self::bad(c, "after object key:value pair")),
            }
        }
    }

    fn array(&mut self) -> Result<(), Fault> {
        let c = self.next_solid()?;
        if c == b']' {
            return Ok(());
        }
        self.value_from(c)?;
        loop {
            match self.next_solid()? {
                b']' => return Ok(()),
                b',' => self.value()?,
                c => return Err(Self::bad(c, "after array element")),
            }
        }
    }

    fn string(&mut self) -> Result<(), Fault> {
        loop {
            match self.next()? {
                b'"' => return Ok(()),
                b'\\' => match self.next()? {
                    b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => {}
                    b'u' => {
                        for _ in 0..4 {
                            let c = self.next()?;
                            if !c.is_ascii_hexdigit() {
                                return Err(Self::bad(c, "in \\u hexadecimal character escape"));
                            }
                        }
                    }
                    c => return Err(Self::bad(c, "in string escape code")),
                },
                c if c < 0x20 => return Err(Self::bad(c, "in string literal")),
                _ => {}
            }
        }
    }

    fn literal(&mut self, word: &str) -> Result<(), Fault> {
        for expected in word.bytes().skip(1) {
            let c = self.next()?;
            if c != expected {
                return Err(Self::bad(
                    c,
                    &format!("in literal {word} (expecting '{}')", expected as char),
                ));
            }
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.text.get(self.at).is_some_and(u8::is_ascii_digit) {
            self.at += 1;
        }
    }

    fn number(&mut self, mut c: u8) -> Result<(), Fault> {
        if c == b'-' {
            c = self.next()?;
            if !c.is_ascii_digit() {
                return Err(Self::bad(c, "in numeric literal"));
            }
        }
        if c != b'0' {
            self.digits();
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            let c = self.next()?;
            if !c.is_ascii_digit() {
                return Err(Self::bad(c, "after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(self.text.get(self.at), Some(b'e' | b'E')) {
            self.at += 1;
            let mut c = self.next()?;
            if matches!(c, b'+' | b'-') {
                c = self.next()?;
            }
            if !c.is_ascii_digit() {
                return Err(Self::bad(c, "in exponent of numeric literal"));
            }
            self.digits();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn depth_is_bounded() {
        for (text, said) in [
            (
                "[".repeat(1_000_000),
                "invalid character '[' exceeded max depth",
            ),
            (
                "{\"a\":".repeat(500_000),
                "invalid character '{' exceeded max depth",
            ),
            ("[".repeat(2_000), "exceeded max depth"),
        ] {
            assert_eq!(super::syntax_error(text.as_bytes()).as_deref(), Some(said));
        }
        let text = br#"{"a":"[[[\"[[","b":[{}]}"#;
        assert_eq!(super::deeper(text, 3), None);
        assert_eq!(super::deeper(text, 2), Some('{'));
    }

    use super::syntax_error;

    #[test]
    fn words_of_go() {
        for (text, said) in [
            ("{}", None),
            (" [1, 2.5e3, \"a\\n\", true, null] ", None),
            ("", Some("unexpected end of JSON input")),
            ("{\"a\"", Some("unexpected end of JSON input")),
            (
                "garbage",
                Some("invalid character 'g' looking for beginning of value"),
            ),
            (
                "{a: 1}",
                Some("invalid character 'a' looking for beginning of object key string"),
            ),
            ("{\"a\" 1}", Some("invalid character '1' after object key")),
            (
                "{\"a\": 1 \"b\"}",
                Some("invalid character '\"' after object key:value pair"),
            ),
            ("[1 2]", Some("invalid character '2' after array element")),
            ("{} x", Some("invalid character 'x' after top-level value")),
            (
                "{} \u{89}",
                Some("invalid character 'Â' after top-level value"),
            ),
            (
                "{} \u{1}",
                Some("invalid character '\\x01' after top-level value"),
            ),
            (
                "{} '",
                Some("invalid character '\\'' after top-level value"),
            ),
            (
                "nul!",
                Some("invalid character '!' in literal null (expecting 'l')"),
            ),
        ] {
            assert_eq!(syntax_error(text.as_bytes()).as_deref(), said, "{text}");
        }
    }
}
