//! Names of properties as identifiers: `__dot__` for a dot, `__namespace__` for a word that is reserved.
//!
//! Invariant: what [`escape`] makes, [`unescape`] takes back. Follows upstream's `staging/src/k8s.io/apiserver/pkg/cel/escaping.go`.

use std::borrow::Cow;

/// The words of the language, and those that it keeps for itself: none is a name.
const RESERVED: [&str; 21] = [
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

const ESCAPES: [(&str, &str); 4] = [
    ("__", "underscores"),
    (".", "dot"),
    ("-", "dash"),
    ("/", "slash"),
];

/// Whether a word is reserved: no variable has such a name, and a property of that name is asked for in escaped form.
pub fn is_reserved(word: &str) -> bool {
    RESERVED.contains(&word)
}

/// The identifier for a property, if there is one.
pub fn escape(name: &str) -> Option<Cow<'_, str>> {
    let first = name.bytes().next()?;
    if first.is_ascii_digit() {
        return None;
    }
    if is_reserved(name) {
        return Some(format!("__{name}__").into());
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.chars().all(plain) && !name.contains("__") {
        return Some(name.into());
    }
    let mut escaped = String::with_capacity(name.len() + 16);
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        if let Some((text, word)) = ESCAPES.iter().find(|(text, _)| rest.starts_with(text)) {
            escaped.push_str(&format!("__{word}__"));
            rest = &rest[text.len()..];
        } else if plain(c) {
            escaped.push(c);
            rest = &rest[1..];
        } else {
            return None;
        }
    }
    Some(escaped.into())
}

/// The property that an identifier means, if it means one.
pub fn unescape(name: &str) -> Option<Cow<'_, str>> {
    if !name.contains("__") {
        return Some(name.into());
    }
    let mut found = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(at) = rest.find("__") {
        let behind = &rest[at + 2..];
        let length = behind.find('_').unwrap_or(behind.len());
        if length == 0 || !behind[length..].starts_with("__") {
            // not an escape: one character, and look again
            found.push_str(&rest[..at + 1]);
            rest = &rest[at + 1..];
            continue;
        }
        found.push_str(&rest[..at]);
        let word = &behind[..length];
        match ESCAPES.iter().find(|(_, w)| *w == word) {
            Some((text, _)) => found.push_str(text),
            None if is_reserved(word) && length + 4 == name.len() => found.push_str(word),
            None => return None,
        }
        rest = &behind[length + 2..];
    }
    found.push_str(rest);
    Some(found.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (name, escaped) in [
            ("plain_1", Some("plain_1")),
            ("namespace", Some("__namespace__")),
            ("a.b-c/d", Some("a__dot__b__dash__c__slash__d")),
            ("a__b", Some("a__underscores__b")),
            ("1a", None),
            ("é", None),
            ("", None),
            ("___", Some("__underscores___")),
        ] {
            let found = escape(name);
            assert_eq!(found.as_deref(), escaped, "{name}");
            if let Some(found) = found {
                assert_eq!(unescape(&found).as_deref(), Some(name));
            }
        }
        assert_eq!(unescape("a__nosuch__b"), None);
        assert_eq!(unescape("a__if__"), None);
        assert_eq!(unescape("a__b").as_deref(), Some("a__b"));
    }
}
