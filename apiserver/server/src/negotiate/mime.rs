//! Media types as Go reads them.
//!
//! Follows `mime.ParseMediaType` of Go's standard library.

use std::collections::HashMap;

/// The media type of a header, in lower case; `None` where Go refuses the header.
pub fn media_type(header: &str) -> Option<String> {
    let (base, _) = header.split_once(';').unwrap_or((header, ""));
    let base = base.trim().to_lowercase();
    check(&base)?;
    let mut given: HashMap<String, String> = HashMap::new();
    let mut rest = header.find(';').map_or("", |at| &header[at..]);
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Some(base);
        }
        let Some((name, value, after)) = parameter(rest) else {
            // semicolons at the end are ignored
            return (rest.trim() == ";").then_some(base);
        };
        if given.get(&name).is_some_and(|other| *other != value) {
            return None;
        }
        given.insert(name, value);
        rest = after;
    }
}

fn is_token(c: char) -> bool {
    c > ' ' && c < '\x7f' && !r#"()<>@,;:\"/[]?="#.contains(c)
}

/// The token at the start, and what follows it.
fn token(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c| !is_token(c)).unwrap_or(text.len()))
}

/// A token, or two with a slash between.
fn check(base: &str) -> Option<()> {
    let (first, rest) = token(base);
    if first.is_empty() {
        return None;
    }
    if rest.is_empty() {
        return Some(());
    }
    let (second, rest) = token(rest.strip_prefix('/')?);
    (!second.is_empty() && rest.is_empty()).then_some(())
}

/// `; name=value`: the name in lower case, the value, and what follows.
fn parameter(text: &str) -> Option<(String, String, &str)> {
    let (name, rest) = token(text.trim_start().strip_prefix(';')?.trim_start());
    if name.is_empty() {
        return None;
    }
    let rest = rest.trim_start().strip_prefix('=')?.trim_start();
    let (value, after) = if rest.starts_with('"') {
        quoted(rest)?
    } else {
        let (value, after) = token(rest);
        (value.to_string(), after)
    };
    let nothing = value.is_empty() && after.len() == rest.len();
    (!nothing).then(|| (name.to_lowercase(), value, after))
}

/// A text in quotes. A backslash escapes nothing but special characters, for the sake of file names with backslashes.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut rest = text.char_indices().skip(1).peekable();
    while let Some((at, c)) = rest.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\r' | '\n' => return None,
            '\\' if rest
                .peek()
                .is_some_and(|(_, next)| r#"()<>@,;:\"/[]?="#.contains(*next)) =>
            {
                out.extend(rest.next().map(|(_, next)| next))
            }
            c => out.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::media_type;

    #[test]
    fn what_go_reads_and_refuses() {
        for (header, wanted) in [
            ("application/json", Some("application/json")),
            ("Application/JSON; charset=UTF-8", Some("application/json")),
            (
                "application/json;charset=\"utf-8\" ; x=y;",
                Some("application/json"),
            ),
            (
                "application/json; charset=\"a\\\"b\"",
                Some("application/json"),
            ),
            ("application/json;", Some("application/json")),
            ("json", Some("json")),
            ("application/json; a=1; a=1", Some("application/json")),
            ("application/json; a=1; A=2", None),
            ("application/json; charset", None),
            ("application/json; charset=", None),
            ("application/json;;", None),
            ("application/json, application/yaml", None),
            ("application / json", None),
            ("application/", None),
            ("application/json x", None),
            ("application/json; a=\"b", None),
            ("/json", None),
            (";", None),
            ("", None),
        ] {
            assert_eq!(media_type(header).as_deref(), wanted, "{header}");
        }
    }
}
