//! Regular expressions of schemas: Go's syntax, matched by the `regex` crate.
//!
//! Both follow RE2 and run in linear time, but write some things differently; the pattern is rewritten where they do:
//! - Go's `\d`, `\s`, `\w` and `\b` know ASCII alone;
//! - a backslash makes any sign a plain one in Go (`\<`, `\/`, `\_`), and `\Q…\E` makes a whole text plain;
//! - `[`, `&&`, `--` and `~~` have no meaning within Go's brackets;
//! - octal escapes (`\012`), which `regex` does not have; `\p{^Greek}`.
//!
//! Invariant: a pattern is compiled when a value is first held to it, once, and equal patterns of all schemas are one.
//! Follows Go's `regexp/syntax`.

use std::{
    collections::HashMap,
    hash::{Hash, Hasher},
    sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError, Weak},
};

use regex::{Regex, RegexBuilder};

use crate::machinery::problem::Problem;

/// A pattern, as it is written.
#[derive(Debug)]
pub struct Pattern {
    text: Box<str>,
    compiled: OnceLock<Result<Regex, Problem>>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text
    }
}
impl Eq for Pattern {}
impl Hash for Pattern {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

/// What a compiled pattern may take, in bytes. Go bounds repetitions instead; this is beyond what those allow in any pattern met so far.
const SIZE_LIMIT: usize = 32 << 20;

impl Pattern {
    pub fn new(text: &str) -> Pattern {
        Pattern {
            text: text.into(),
            compiled: OnceLock::new(),
        }
    }

    /// The one pattern of this text.
    pub fn shared(text: &str) -> Arc<Pattern> {
        static ALL: LazyLock<Mutex<HashMap<Box<str>, Weak<Pattern>>>> =
            LazyLock::new(Mutex::default);
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pattern) = all.get(text).and_then(Weak::upgrade) {
            return pattern;
        }
        all.retain(|_, pattern| pattern.strong_count() > 0);
        let pattern = Arc::new(Pattern::new(text));
        all.insert(text.into(), Arc::downgrade(&pattern));
        pattern
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is found in `value`.
    ///
    /// # Errors
    /// Why it is none.
    pub fn is_match(&self, value: &str) -> Result<bool, &Problem> {
        let compiled = self.compiled.get_or_init(|| compile(&self.text));
        compiled.as_ref().map(|regex| regex.is_match(value))
    }
}

fn compile(text: &str) -> Result<Regex, Problem> {
    RegexBuilder::new(&rewritten(text))
        .size_limit(SIZE_LIMIT)
        .build()
        .map_err(|error| Problem(format!("error parsing regexp: {error}")))
}

/// The pattern in the syntax of `regex`.
pub fn rewritten(text: &str) -> String {
    let mut rewriter = Rewriter {
        rest: text,
        out: String::with_capacity(text.len() + 8),
    };
    while let Some(c) = rewriter.next() {
        match c {
            '\\' => rewriter.escape(false),
            '[' => rewriter.class(),
            _ => rewriter.out.push(c),
        }
    }
    rewriter.out
}

struct Rewriter<'t> {
    rest: &'t str,
    out: String,
}

impl Rewriter<'_> {
    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn took(&mut self, text: &str) -> bool {
        match self.rest.strip_prefix(text) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A sign that means itself.
    fn plain(&mut self, c: char) {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            self.out.push_str(&format!("\\x{:02x}", c as u32));
        } else {
            self.out.push(c);
        }
    }

    /// What follows a backslash.
    fn escape(&mut self, in_class: bool) {
        let Some(c) = self.next() else {
            return self.out.push('\\');
        };
        match c {
            'd' => self.set(in_class, "0-9", false),
            'D' => self.set(in_class, "0-9", true),
            's' => self.set(in_class, "\\t\\n\\x0c\\r\\x20", false),
            'S' => self.set(in_class, "\\t\\n\\x0c\\r\\x20", true),
            'w' => self.set(in_class, "0-9A-Za-z_", false),
            'W' => self.set(in_class, "0-9A-Za-z_", true),
            'b' if !in_class => self.out.push_str("(?-u:\\b)"),
            'B' if !in_class => self.out.push_str("(?-u:\\B)"),
            'Q' if !in_class => {
                let end = self.rest.find("\\E");
                let (quoted, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
                quoted.chars().for_each(|c| self.plain(c));
                self.rest = rest.strip_prefix("\\E").unwrap_or(rest);
            }
            '0'..='7' => self.octal(c),
            'p' if self.took("{^") => self.out.push_str("\\P{"),
            'P' if self.took("{^") => self.out.push_str("\\p{"),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => self.plain(c),
            c => self.out.extend(['\\', c]),
        }
    }

    fn set(&mut self, in_class: bool, of: &str, not: bool) {
        // a set within a set has brackets of its own in `regex`
        let open = if not { "[^" } else { "[" };
        if in_class && !not {
            self.out.push_str(of);
        } else {
            self.out.push_str(&format!("{open}{of}]"));
        }
    }

    /// One to three digits; a single one from 1 on would be a back reference, which neither has.
    fn octal(&mut self, first: char) {
        let digits: String = std::iter::once(first)
            .chain(
                self.rest
                    .chars()
                    .take(2)
                    .take_while(|c| ('0'..='7').contains(c)),
            )
            .collect();
        if first != '0' && digits.len() == 1 {
            return self.out.extend(['\\', first]);
        }
        self.rest = &self.rest[digits.len() - 1..];
        let code = digits
            .bytes()
            .fold(0, |code, d| code * 8 + u32::from(d - b'0'));
        self.out.push_str(&format!("\\x{{{code:x}}}"));
    }

    /// What follows an opening bracket, its end included.
    fn class(&mut self) {
        self.out.push('[');
        if self.took("^") {
            self.out.push('^');
        }
        // a closing bracket that comes first is a plain one
        if self.took("]") {
            self.plain(']');
        }
        while let Some(c) = self.next() {
            match c {
                ']' => return self.out.push(']'),
                '[' if self.rest.starts_with(':') && self.rest.contains(":]") => {
                    let end = self.rest.find(":]").map_or(0, |at| at + 2);
                    self.out.push('[');
                    self.out.push_str(&self.rest[..end]);
                    self.rest = &self.rest[end..];
                }
                '\\' if self
                    .rest
                    .starts_with(['d', 'D', 's', 'S', 'w', 'W', 'p', 'P']) =>
                {
                    self.escape(true);
                }
                first => self.range(first),
            }
        }
    }

    /// A sign within brackets, or from one to another.
    fn range(&mut self, first: char) {
        self.sign(first);
        if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
            self.next();
            self.out.push('-');
            if let Some(last) = self.next() {
                self.sign(last);
            }
        }
    }

    fn sign(&mut self, c: char) {
        match c {
            '\\' => self.escape(true),
            c => self.plain(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, matching, other) in [
            ("^[a-z]+$", "abc", "aBc"),
            (r"^\d+$", "12", "١٢"),
            (r"^\w+$", "a_1", "ä"),
            (r"^\s$", "\t", "\u{a0}"),
            (r"^[\d\-\.]+$", "1-.", "x"),
            (r"^[\D]$", "x", "1"),
            (r"^\<\/\_\>$", "</_>", "x"),
            (r"^\Qa.b\E$", "a.b", "axb"),
            (r"^[[a]$", "[", "b"),
            (r"^[a&&b]+$", "&ab", "c"),
            (r"^[]a]+$", "]a", "b"),
            (r"^[^]a]$", "b", "]"),
            (r"^[a-]+$", "a-", "b"),
            (r"^[-a]+$", "a-", "b"),
            (r"^[+--]+$", "+,-", "."),
            (r"^[\w.-]+$", "a.-", "/"),
            (r"^\101$", "A", "B"),
            (r"^\x41\x{42}$", "AB", "A"),
            (r"^[[:alpha:]_]+$", "a_", "1"),
            (r"^\p{^Lu}$", "a", "A"),
            (r"^\pL+$", "äß", "1"),
            (r"(?i)^ok$", "OK", "no"),
            (r"^a\b.$", "a-", "ab"),
            (r"^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$", "1m30s", "1m 30s"),
        ] {
            let pattern = Pattern::new(pattern);
            assert_eq!(
                pattern.is_match(matching),
                Ok(true),
                "{pattern:?} {matching:?}"
            );
            assert_eq!(pattern.is_match(other), Ok(false), "{pattern:?} {other:?}");
        }
        assert!(Pattern::new("(").is_match("x").is_err());
        assert!(Pattern::new(r"(a)\1").is_match("x").is_err());
        assert!(Pattern::new("a\\").is_match("x").is_err());
        assert!(Arc::ptr_eq(
            &Pattern::shared("^a$"),
            &Pattern::shared("^a$")
        ));
    }
}
