//! Regular expressions as Go reads them: what it does not take is refused in its words.
//! Invariant: what is taken here means the same there.
//! Behaviour follows Go's `regexp/syntax/parse.go`.

use regex::Regex;
use regex_syntax::ast::{ErrorKind, parse::Parser};

/// The most that an expression may be repeated.
const MOST: u32 = 1000;

/// Reads an expression.
///
/// # Errors
/// Go's words for what is wrong with it.
pub fn read(text: &str) -> Result<Regex, String> {
    if let Some(why) = refused(text) {
        return Err(format!("error parsing regexp: {why}"));
    }
    let counted = Parser::new().parse(text);
    let plain = match counted {
        Err(error) => {
            let span = error.span();
            match literal(error.kind(), text, span.start.offset) {
                Some(plain) => plain,
                None => {
                    let why = told(error.kind(), text, span.start.offset, span.end.offset);
                    return Err(format!("error parsing regexp: {why}"));
                }
            }
        }
        Ok(_) => text.to_string(),
    };
    Regex::new(&plain).map_err(|_| {
        let class = text
            .find("\\p")
            .or_else(|| text.find("\\P"))
            .map_or(text, |at| &text[at..]);
        let class = class.find('}').map_or(class, |end| &class[..=end]);
        format!("error parsing regexp: invalid character class range: `{class}`")
    })
}

/// What this library would take and Go does not.
fn refused(text: &str) -> Option<String> {
    let mut before = ' ';
    let mut escaped = false;
    let mut class = false;
    for (at, c) in text.char_indices() {
        let repeats = |c: char| matches!(c, '*' | '+' | '?');
        match c {
            _ if escaped => {}
            '[' => class = true,
            ']' => class = false,
            '*' | '+' if !class && repeats(before) => {
                let begin = at - before.len_utf8();
                return Some(format!(
                    "invalid nested repetition operator: `{}`",
                    &text[begin..=at]
                ));
            }
            '{' if !class => {
                let inner = text[at + 1..]
                    .split_once('}')
                    .map_or("", |(inner, _)| inner);
                let mut counts = inner.split(',').filter(|count| !count.is_empty());
                let too_many = |count: &str| count.parse::<u32>().is_ok_and(|count| count > MOST);
                if counts.any(too_many) {
                    return Some(format!("invalid repeat count: `{{{inner}}}`"));
                }
            }
            '(' if !class && text[at..].starts_with("(?") => {
                let known =
                    |c: &char| matches!(c, 'i' | 'm' | 's' | 'U' | '-' | ':' | ')' | 'P' | '<');
                let flags = &text[at + 2..];
                let named = flags.starts_with("P<") || flags.starts_with('<');
                let end = flags
                    .char_indices()
                    .find(|(_, c)| !known(c) || matches!(c, ':' | ')'));
                if !named
                    && let Some((odd, c)) = end
                    && !matches!(c, ':' | ')')
                {
                    let end = at + 2 + odd + c.len_utf8();
                    let shown = &text[at..end];
                    return Some(format!("invalid or unsupported Perl syntax: `{shown}`"));
                }
            }
            _ => {}
        }
        before = if escaped || class { ' ' } else { c };
        escaped = c == '\\' && !escaped;
    }
    None
}

/// A brace that counts nothing stands for itself.
fn literal(kind: &ErrorKind, text: &str, at: usize) -> Option<String> {
    let counts = matches!(
        kind,
        ErrorKind::RepetitionCountUnclosed
            | ErrorKind::RepetitionCountDecimalEmpty
            | ErrorKind::DecimalEmpty
            | ErrorKind::DecimalInvalid
    );
    let brace = text
        .get(..)
        .and_then(|text| text[at..].find('{').map(|offset| at + offset));
    match (counts, brace) {
        (true, Some(brace)) => Some(format!("{}\\{}", &text[..brace], &text[brace..])),
        _ => None,
    }
}

fn told(kind: &ErrorKind, text: &str, start: usize, end: usize) -> String {
    let part = &text[start..end];
    match kind {
        ErrorKind::ClassUnclosed => format!("missing closing ]: `{}`", &text[start..]),
        ErrorKind::GroupUnclosed => format!("missing closing ): `{text}`"),
        ErrorKind::GroupUnopened => format!("unexpected ): `{text}`"),
        ErrorKind::RepetitionMissing => {
            let operator = text[start..].chars().next().unwrap_or_default();
            format!("missing argument to repetition operator: `{operator}`")
        }
        ErrorKind::RepetitionCountInvalid => {
            format!(
                "invalid repeat count: `{}`",
                part.trim_start_matches(|c| c != '{')
            )
        }
        ErrorKind::ClassRangeInvalid | ErrorKind::ClassRangeLiteral => {
            format!("invalid character class range: `{part}`")
        }
        ErrorKind::EscapeUnexpectedEof => "trailing backslash at end of expression: ``".into(),
        ErrorKind::GroupNameUnexpectedEof
        | ErrorKind::GroupNameEmpty
        | ErrorKind::GroupNameInvalid
        | ErrorKind::GroupNameDuplicate { .. } => {
            let begin = text[..start].rfind("(?").unwrap_or(start);
            format!("invalid named capture: `{}`", &text[begin..])
        }
        ErrorKind::FlagUnrecognized
        | ErrorKind::FlagUnexpectedEof
        | ErrorKind::FlagDanglingNegation
        | ErrorKind::FlagRepeatedNegation { .. }
        | ErrorKind::FlagDuplicate { .. }
        | ErrorKind::UnsupportedLookAround => {
            let begin = text[..start].rfind("(?").unwrap_or(start);
            format!(
                "invalid or unsupported Perl syntax: `{}`",
                &text[begin..end]
            )
        }
        _ => format!("invalid escape sequence: `{part}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_told_as_go_tells_them() {
        for (text, want) in [
            ("[", "missing closing ]: `[`"),
            ("(", "missing closing ): `(`"),
            ("(?<n>a", "missing closing ): `(?<n>a`"),
            ("a)", "unexpected ): `a)`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("(?P<x", "invalid named capture: `(?P<x`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            (r"\p{Nope}", r"invalid character class range: `\p{Nope}`"),
            (r"\", "trailing backslash at end of expression: ``"),
            (r"\8", r"invalid escape sequence: `\8`"),
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("(?i-x)", "invalid or unsupported Perl syntax: `(?i-x`"),
        ] {
            let said = read(text).unwrap_err();
            assert_eq!(said, format!("error parsing regexp: {want}"), "{text}");
        }
        assert!(read("a{2").unwrap().is_match("a{2"));
        for text in [
            "^/api/.*/pods/.*/exec",
            "a{1,3}",
            "(?i)x",
            "(?P<n>x)",
            "[*+]+",
            "a*?",
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
    }
}
