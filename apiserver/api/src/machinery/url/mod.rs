//! Which characters stand in a URL as they are, and what Go reads in one.

pub mod parse;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// All that is escaped where nothing has a meaning of its own (RFC 3986 §2.3).
pub const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// A text as a parameter's value in a query.
pub fn query_value(text: &str) -> String {
    utf8_percent_encode(text, UNRESERVED).to_string()
}

/// A path as Go's `URL.EscapedPath` writes it.
pub fn escape_path(path: &str) -> String {
    const KEPT: &AsciiSet = &UNRESERVED
        .remove(b'$')
        .remove(b'&')
        .remove(b'+')
        .remove(b',')
        .remove(b'/')
        .remove(b':')
        .remove(b';')
        .remove(b'=')
        .remove(b'@');
    utf8_percent_encode(path, KEPT).to_string()
}

/// Go's `path.Clean` of a path that begins with a slash: no empty parts, no `.` and `..`, no slash at the end.
pub fn clean(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// The same with the slash at the end that it had.
pub fn clean_keeping_slash(path: &str) -> String {
    let mut cleaned = clean(path);
    if path.ends_with('/') && !cleaned.ends_with('/') {
        cleaned.push('/');
    }
    cleaned
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned_as_go_does() {
        for (path, clean) in [
            ("/", "/"),
            ("//", "/"),
            ("/a//b/", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/../a", "/a"),
            ("/a/b", "/a/b"),
        ] {
            assert_eq!(clean_keeping_slash(path), clean, "{path}");
        }
    }
}
