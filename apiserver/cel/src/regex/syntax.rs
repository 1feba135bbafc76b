//! Go's syntax of regular expressions, put into that of the `regex` crate.
//!
//! Invariant: what comes out means to the crate what went in means to Go. Errors are those of Go's `regexp/syntax`.

/// How often a part may be repeated.
const MOST_REPEATS: u32 = 1000;

/// Why a text is no pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("error parsing regexp: {reason}: `{part}`")]
pub struct PatternError {
    reason: &'static str,
    /// The part that is at fault.
    part: String,
}

impl PatternError {
    pub(super) fn too_large(text: &str) -> PatternError {
        fault("expression too large", text)
    }
}

fn fault(reason: &'static str, part: impl Into<String>) -> PatternError {
    PatternError {
        reason,
        part: part.into(),
    }
}

/// The pattern as the crate takes it.
pub fn translate(text: &str) -> Result<String, PatternError> {
    let mut translator = Translator {
        whole: text,
        rest: text,
        out: String::with_capacity(text.len() + 8),
        open: 0,
        repeatable: false,
    };
    translator.run()?;
    Ok(translator.out)
}

struct Translator<'a> {
    whole: &'a str,
    rest: &'a str,
    out: String,
    /// Parentheses that are open.
    open: usize,
    /// Whether something stands before that could be repeated.
    repeatable: bool,
}

impl<'a> Translator<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn advance(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        taken
    }

    fn run(&mut self) -> Result<(), PatternError> {
        while let Some(c) = self.peek() {
            match c {
                '(' => self.group()?,
                ')' => {
                    if self.open == 0 {
                        return Err(fault("unexpected )", self.whole));
                    }
                    self.open -= 1;
                    self.advance(1);
                    self.out.push(')');
                    self.repeatable = true;
                }
                '|' => {
                    self.advance(1);
                    self.out.push('|');
                    self.repeatable = false;
                }
                '*' | '+' | '?' => self.repetition(1)?,
                '{' => match counted(self.rest) {
                    Some(length) => self.repetition(length)?,
                    None => self.literal(c),
                },
                '[' => self.class()?,
                '\\' => self.escape()?,
                '^' | '$' | '.' => {
                    self.advance(1);
                    self.out.push(c);
                    self.repeatable = true;
                }
                _ => self.literal(c),
            }
        }
        if self.open > 0 {
            return Err(fault("missing closing )", self.whole));
        }
        Ok(())
    }

    fn literal(&mut self, c: char) {
        self.advance(c.len_utf8());
        push_literal(&mut self.out, c);
        self.repeatable = true;
    }

    fn repetition(&mut self, length: usize) -> Result<(), PatternError> {
        let begin = self.rest;
        let operator = self.advance(length);
        if let Some(counts) = operator.strip_prefix('{') {
            let counts = counts.trim_end_matches('}');
            let (low, high) = counts.split_once(',').unwrap_or((counts, counts));
            let number = |text: &str| text.parse::<u32>().unwrap_or(u32::MAX);
            let low = number(low);
            let high = if high.is_empty() { low } else { number(high) };
            if low > MOST_REPEATS || high > MOST_REPEATS || low > high {
                return Err(fault("invalid repeat count", operator));
            }
        }
        if !self.repeatable {
            return Err(fault("missing argument to repetition operator", operator));
        }
        self.out.push_str(operator);
        if self.rest.starts_with('?') {
            self.advance(1);
            self.out.push('?');
        }
        let next = match self.peek() {
            Some('*' | '+' | '?') => 1,
            Some('{') => counted(self.rest).unwrap_or(0),
            _ => 0,
        };
        if next > 0 {
            let lazy = usize::from(self.rest[next..].starts_with('?'));
            let used = begin.len() - self.rest.len() + next + lazy;
            return Err(fault("invalid nested repetition operator", &begin[..used]));
        }
        Ok(())
    }

    fn group(&mut self) -> Result<(), PatternError> {
        self.repeatable = false;
        if !self.rest.starts_with("(?") {
            self.advance(1);
            self.open += 1;
            self.out.push('(');
            return Ok(());
        }
        for prefix in ["(?P<", "(?<"] {
            let Some(name) = self.rest.strip_prefix(prefix) else {
                continue;
            };
            let Some(end) = name.find('>') else {
                return Err(fault("invalid named capture", self.rest));
            };
            let whole = self.advance(prefix.len() + end + 1);
            let name = &name[..end];
            let word = |c: char| c == '_' || c.is_alphanumeric();
            if name.is_empty() || !name.chars().all(word) {
                return Err(fault("invalid named capture", whole));
            }
            self.open += 1;
            // nobody asks for names
            self.out.push('(');
            return Ok(());
        }
        self.flags()
    }

    /// `(?i)`, `(?i:` and `(?:`
    fn flags(&mut self) -> Result<(), PatternError> {
        let begin = self.rest;
        let mut negated = false;
        let mut any = false;
        for (at, c) in begin.char_indices().skip(2) {
            let end = at + c.len_utf8();
            match c {
                'i' | 'm' | 's' | 'U' => any = true,
                '-' if !negated => {
                    negated = true;
                    any = false;
                }
                ':' | ')' if !negated || any => {
                    let taken = self.advance(end);
                    if c == ':' {
                        self.open += 1;
                    }
                    if taken != "(?)" {
                        self.out.push_str(taken);
                    }
                    return Ok(());
                }
                _ => {
                    return Err(fault("invalid or unsupported Perl syntax", &begin[..end]));
                }
            }
        }
        Err(fault("missing closing )", self.whole))
    }

    fn escape(&mut self) -> Result<(), PatternError> {
        self.repeatable = true;
        let second = self.rest[1..].chars().next();
        match second {
            Some('A' | 'z') => self.out.push_str(&self.rest[..2]),
            Some('b') => self.out.push_str(r"(?-u:\b)"),
            Some('B') => self.out.push_str(r"(?-u:\B)"),
            Some('Q') => {
                let quoted = &self.rest[2..];
                let end = quoted.find(r"\E").unwrap_or(quoted.len());
                for c in quoted[..end].chars() {
                    push_literal(&mut self.out, c);
                }
                let ending = if end < quoted.len() { 2 } else { 0 };
                self.advance(2 + end + ending);
                return Ok(());
            }
            _ => {
                let (item, length) = escaped(self.rest)?;
                self.advance(length);
                match item {
                    Escaped::Class(class) => {
                        self.out.push('[');
                        self.out.push_str(&class);
                        self.out.push(']');
                    }
                    Escaped::Char(c) => push_literal(&mut self.out, c),
                }
                return Ok(());
            }
        }
        self.advance(2);
        Ok(())
    }

    fn class(&mut self) -> Result<(), PatternError> {
        const POSIX: [&str; 14] = [
            "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print",
            "punct", "space", "upper", "word", "xdigit",
        ];
        let begin = self.rest;
        self.advance(1);
        self.out.push('[');
        if self.rest.starts_with('^') {
            self.advance(1);
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let Some(c) = self.peek() else {
                return Err(fault("missing closing ]", begin));
            };
            if c == ']' && !first {
                break;
            }
            first = false;
            if let Some(name) = self.rest.strip_prefix("[:")
                && let Some(end) = name.find(":]")
            {
                let whole = self.advance(end + 4);
                let word = name[..end].trim_start_matches('^');
                if !POSIX.contains(&word) {
                    return Err(fault("invalid character class range", whole));
                }
                self.out.push_str(whole);
                continue;
            }
            self.class_item(begin)?;
        }
        self.advance(1);
        self.out.push(']');
        self.repeatable = true;
        Ok(())
    }

    /// A character, a range, or a class within a class.
    fn class_item(&mut self, begin: &'a str) -> Result<(), PatternError> {
        let before = self.rest;
        let Some(low) = self.class_char(begin)? else {
            return Ok(());
        };
        let is_range = self.rest.starts_with('-') && !self.rest[1..].starts_with(']');
        if !is_range || self.rest.len() == 1 {
            push_literal(&mut self.out, low);
            return Ok(());
        }
        self.advance(1);
        let at = self.out.len();
        let high = self.class_char(begin)?;
        let used = &before[..before.len() - self.rest.len()];
        match high {
            Some(high) if low <= high => {
                push_literal(&mut self.out, low);
                self.out.push('-');
                push_literal(&mut self.out, high);
                Ok(())
            }
            _ => {
                self.out.truncate(at);
                Err(fault("invalid character class range", used))
            }
        }
    }

    /// A character of a class; `None` if it was a class, which is written already.
    fn class_char(&mut self, begin: &'a str) -> Result<Option<char>, PatternError> {
        match self.peek() {
            None => Err(fault("missing closing ]", begin)),
            Some('\\') => {
                let (item, length) = escaped(self.rest)?;
                self.advance(length);
                match item {
                    Escaped::Char(c) => Ok(Some(c)),
                    Escaped::Class(class) => {
                        self.out.push('[');
                        self.out.push_str(&class);
                        self.out.push(']');
                        Ok(None)
                    }
                }
            }
            Some(c) => {
                self.advance(c.len_utf8());
                Ok(Some(c))
            }
        }
    }
}

fn push_literal(out: &mut String, c: char) {
    // `<` and `>` mean something when escaped
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        out.push('\\');
    }
    out.push(c);
}

/// The length of `{2}`, `{2,}` or `{2,3}` at the head of a text.
fn counted(text: &str) -> Option<usize> {
    let end = text.find('}')?;
    let inner = &text[1..end];
    let number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let fits = match inner.split_once(',') {
        None => number(inner),
        Some((low, high)) => number(low) && (high.is_empty() || number(high)),
    };
    // a number that begins with 0 is none
    let zero = |text: &str| text.len() > 1 && text.starts_with('0');
    let plain = !inner.split(',').any(zero);
    (fits && plain).then_some(end + 1)
}

enum Escaped {
    Char(char),
    /// What stands within the brackets.
    Class(String),
}

/// What an escape sequence at the head of a text means, and its length.
fn escaped(text: &str) -> Result<(Escaped, usize), PatternError> {
    let Some(c) = text[1..].chars().next() else {
        return Err(fault("trailing backslash at end of expression", ""));
    };
    let length = 1 + c.len_utf8();
    let class = |class: &str| Ok((Escaped::Class(class.to_owned()), length));
    let char = |c| Ok((Escaped::Char(c), length));
    let invalid = |length: usize| Err(fault("invalid escape sequence", &text[..length]));
    match c {
        'd' => class("0-9"),
        'D' => class("^0-9"),
        'w' => class("0-9A-Za-z_"),
        'W' => class("^0-9A-Za-z_"),
        's' => class(r"\t\n\f\r "),
        'S' => class(r"^\t\n\f\r "),
        'a' => char('\u{7}'),
        'f' => char('\u{c}'),
        'n' => char('\n'),
        'r' => char('\r'),
        't' => char('\t'),
        'v' => char('\u{b}'),
        'p' | 'P' => {
            let name = &text[2..];
            let length = match name.strip_prefix('{') {
                Some(inner) => inner.find('}').map(|end| end + 4),
                None => name.chars().next().map(|c| 2 + c.len_utf8()),
            };
            let Some(length) = length else {
                return Err(fault("invalid character class range", text));
            };
            let whole = &text[..length];
            if regex::Regex::new(whole).is_err() {
                return Err(fault("invalid character class range", whole));
            }
            Ok((Escaped::Class(whole.to_owned()), length))
        }
        'x' => {
            let digits = &text[2..];
            let (digits, length) = match digits.strip_prefix('{') {
                Some(inner) => match inner.find('}') {
                    Some(end) => (&inner[..end], end + 4),
                    None => return invalid(text.len()),
                },
                None => match digits.get(..2) {
                    Some(two) => (two, 4),
                    None => return invalid(text.len()),
                },
            };
            let code = u32::from_str_radix(digits, 16)
                .ok()
                .and_then(char::from_u32);
            match code {
                Some(c) => Ok((Escaped::Char(c), length)),
                None => invalid(length),
            }
        }
        '0'..='7' => {
            let digits = text[1..].bytes().take(3);
            let count = digits.take_while(|b| (b'0'..=b'7').contains(b)).count();
            if c != '0' && count == 1 {
                return invalid(2);
            }
            let code = u32::from_str_radix(&text[1..1 + count], 8).ok();
            match code.and_then(char::from_u32) {
                Some(c) => Ok((Escaped::Char(c), 1 + count)),
                None => invalid(1 + count),
            }
        }
        c if c.is_ascii() && !c.is_ascii_alphanumeric() => char(c),
        _ => invalid(length),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Pattern;

    #[test]
    fn what_go_refuses() {
        for (pattern, message) in [
            ("(", "missing closing ): `(`"),
            (")", "unexpected ): `)`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("[a", "missing closing ]: `[a`"),
            ("[b-a]", "invalid character class range: `b-a`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(?=a)", "invalid or unsupported Perl syntax: `(?=`"),
            (r"\Z", r"invalid escape sequence: `\Z`"),
            (r"\1", r"invalid escape sequence: `\1`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
        ] {
            let error = Pattern::new(pattern).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("error parsing regexp: {message}"),
                "{pattern}"
            );
        }
    }

    #[test]
    fn what_go_takes() {
        for (pattern, text, fits) in [
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^[\w.]+$", "a_b.c", true),
            ("^[[]$", "[", true),
            ("^[]a]+$", "]a", true),
            ("^a{,2}$", "a{,2}", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            ("(?i)^É$", "é", true),
            (r"^\pL+$", "éa", true),
            ("^(?P<x>a)(?<y>b)$", "ab", true),
            (r#"^\"\_\/\-$"#, "\"_/-", true),
            ("^[a&&b]+$", "&", true),
            ("^[[:alpha:]-]+$", "a-b", true),
            (r"^\x41\101$", "AA", true),
            ("^x$", "x\n", false),
        ] {
            let found = Pattern::new(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
            assert_eq!(found.is_match(text), fits, "{pattern} {text}");
        }
    }
}
