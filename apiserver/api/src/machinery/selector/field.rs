//! Field selectors: `metadata.name=a,status.phase!=Running`.
//!
//! Invariant: terms are sorted by their text, as upstream sorts them before it reads them; values are unescaped.
//! Which fields a kind can be selected by is the caller's to check ([`FieldSelector::transform`]).
//! Follows upstream's `fields/selector.go`.

use std::fmt;
use std::str::FromStr;

use super::SelectorError;

/// One term.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FieldTerm {
    /// The path of the field, `metadata.name`.
    pub field: Box<str>,
    /// `=` when true, `!=` when false.
    pub equal: bool,
    /// The value, unescaped.
    pub value: Box<str>,
}

/// Terms, all of which must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldSelector {
    terms: Vec<FieldTerm>,
}

impl FieldSelector {
    /// What has this value in this field.
    pub fn one(field: &str, value: &str) -> FieldSelector {
        FieldSelector {
            terms: vec![FieldTerm {
                field: field.into(),
                equal: true,
                value: value.into(),
            }],
        }
    }

    /// The terms.
    pub fn terms(&self) -> &[FieldTerm] {
        &self.terms
    }

    /// Whether it leaves everything in.
    pub fn is_everything(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether an object matches; `get` gives a field's value, absent ones count as empty.
    pub fn matches<'a>(&self, get: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms
            .iter()
            .all(|t| (get(&t.field).unwrap_or_default() == &*t.value) == t.equal)
    }

    /// The one value that a field must have, when a term demands it.
    pub fn requires_exact_match(&self, field: &str) -> Option<&str> {
        self.terms
            .iter()
            .find(|t| t.equal && &*t.field == field)
            .map(|t| &*t.value)
    }

    /// The selector with every term renamed or refused by `f`; a term that becomes empty on both sides is dropped.
    pub fn transform<E>(
        &self,
        mut f: impl FnMut(&str, &str) -> Result<(String, String), E>,
    ) -> Result<FieldSelector, E> {
        let mut terms = Vec::with_capacity(self.terms.len());
        for t in &self.terms {
            let (field, value) = f(&t.field, &t.value)?;
            if !field.is_empty() || !value.is_empty() {
                terms.push(FieldTerm {
                    field: field.into(),
                    equal: t.equal,
                    value: value.into(),
                });
            }
        }
        Ok(FieldSelector { terms })
    }
}

/// Puts a backslash before `\`, `,` and `=`.
pub fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for c in value.chars() {
        if matches!(c, '\\' | ',' | '=') {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn unescape(value: &str) -> Result<String, SelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(c @ ('\\' | ',' | '=')) => out.push(c),
                Some(c) => return Err(SelectorError::Escape(format!("\\{c}"))),
                None => return Err(SelectorError::Escape("\\".into())),
            },
            ',' | '=' => return Err(SelectorError::Unescaped(c)),
            c => out.push(c),
        }
    }
    Ok(out)
}

fn split_terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == ',' {
            terms.push(&text[start..i]);
            start = i + 1;
        }
    }
    terms.push(&text[start..]);
    terms
}

fn split_term(term: &str) -> Option<(&str, bool, &str)> {
    term.char_indices().find_map(|(i, _)| {
        let rest = &term[i..];
        ["!=", "==", "="].iter().find_map(|op| {
            rest.strip_prefix(op)
                .map(|value| (&term[..i], *op != "!=", value))
        })
    })
}

impl FromStr for FieldSelector {
    type Err = SelectorError;

    /// Reads the form of `?fieldSelector=`.
    fn from_str(text: &str) -> Result<FieldSelector, SelectorError> {
        let mut parts = split_terms(text);
        parts.sort_unstable();
        let mut terms = Vec::with_capacity(parts.len());
        for part in parts.into_iter().filter(|p| !p.is_empty()) {
            let (field, equal, value) = split_term(part).ok_or_else(|| SelectorError::Term {
                selector: text.into(),
                term: part.into(),
            })?;
            let value = unescape(value)?;
            // nothing that has no value is what everything is
            if !field.is_empty() || !value.is_empty() {
                terms.push(FieldTerm {
                    field: field.into(),
                    equal,
                    value: value.into(),
                });
            }
        }
        Ok(FieldSelector { terms })
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, t) in self.terms.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(
                f,
                "{comma}{}{}{}",
                t.field,
                if t.equal { "=" } else { "!=" },
                escape(&t.value)
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_selects_everything() {
        for text in ["=", "==", "!=", "=,", ",="] {
            let selector: FieldSelector = text.parse().unwrap();
            assert!(selector.is_everything(), "{text}");
        }
        for text in ["=a", "a=", "!=a"] {
            let selector: FieldSelector = text.parse().unwrap();
            assert!(!selector.is_everything(), "{text}");
        }
    }

    #[test]
    fn forms() {
        for (given, wanted) in [
            ("", ""),
            ("a=b", "a=b"),
            ("b=1,a==2", "a=2,b=1"),
            ("a!=b,,", "a!=b"),
            (r"a=b\,c\=d\\", r"a=b\,c\=d\\"),
            ("a=", "a="),
            ("=x", "=x"),
            ("metadata.name=x", "metadata.name=x"),
        ] {
            assert_eq!(
                given.parse::<FieldSelector>().unwrap().to_string(),
                wanted,
                "{given}"
            );
        }
        for (given, wanted) in [
            (
                "metadata.name",
                "invalid selector: 'metadata.name'; can't understand 'metadata.name'",
            ),
            (
                "a=1,x in (a)",
                "invalid selector: 'a=1,x in (a)'; can't understand 'x in (a)'",
            ),
            (
                r"a=\b",
                r"invalid field selector: invalid escape sequence: \b",
            ),
            (
                r"a=\",
                r"invalid field selector: invalid escape sequence: \",
            ),
            (
                "a=b=c",
                "invalid field selector: unescaped character in value: 61",
            ),
        ] {
            assert_eq!(
                given.parse::<FieldSelector>().unwrap_err().to_string(),
                wanted,
                "{given}"
            );
        }
    }

    #[test]
    fn matching() {
        let get = |field: &str| (field == "metadata.name").then_some("a");
        for (given, wanted) in [
            ("", true),
            ("metadata.name=a", true),
            ("metadata.name!=a", false),
            ("metadata.name=a,x=", true),
            ("x=1", false),
            ("x!=1", true),
        ] {
            assert_eq!(
                given.parse::<FieldSelector>().unwrap().matches(get),
                wanted,
                "{given}"
            );
        }
        let s: FieldSelector = "metadata.name=a,spec.nodeName=n".parse().unwrap();
        assert_eq!(s.requires_exact_match("spec.nodeName"), Some("n"));
        assert_eq!(
            s.transform(|f, v| if f == "metadata.name" {
                Ok((f.to_string(), v.to_string()))
            } else {
                Err(format!("field label not supported: {f}"))
            })
            .unwrap_err(),
            "field label not supported: spec.nodeName"
        );
    }
}
