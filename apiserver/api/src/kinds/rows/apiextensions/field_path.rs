//! Paths of fields as definitions write them (`.spec.color`, `.spec['a.b']`), and what a schema has there.
//!
//! Follows `ValidFieldPath` of `pkg/apiserver/schema/cel/validation.go` of apiextensions-apiserver.

use super::structure::additional;
use crate::kinds::prelude::*;
use crate::machinery::problem::{Problem, problem};

/// What a path leads to.
pub struct Found<'v> {
    /// The path as errors show it.
    pub path: String,
    /// Its first name.
    pub root: String,
    /// `None` where the schema allows anything.
    pub schema: Option<&'v Value>,
}

/// Follows a path into a schema; `brackets` tells whether it may name fields in them.
///
/// # Errors
/// What is wrong with the path.
pub fn follow<'v>(path: &str, schema: &'v Value, brackets: bool) -> Result<Found<'v>, Problem> {
    let mut found = Found {
        path: String::new(),
        root: String::new(),
        schema: Some(schema),
    };
    let mut tokens = Tokens(path);
    let end = || Problem::from("unexpected end of JSON path");
    while let Some(token) = tokens.next() {
        match token {
            "[" if !brackets => return Err("array notation is not allowed".into()),
            "[" => {
                let quoted = tokens.next().ok_or_else(end)?;
                let name = unquoted(quoted)?;
                found.step(&name)?;
                match tokens.next().ok_or_else(end)? {
                    "]" => {}
                    other => return Err(problem!("expected ] but got {other}")),
                }
            }
            "." => found.step(tokens.next().ok_or_else(end)?)?,
            other => return Err(problem!("expected [ or . but got: {other}")),
        }
    }
    Ok(found)
}

impl Found<'_> {
    fn step(&mut self, name: &str) -> Result<(), Problem> {
        let nowhere = || Problem::from("does not refer to a valid field");
        let schema = self.schema.ok_or_else(nowhere)?;
        let (part, to) = match schema.map("properties").filter(|map| !map.is_empty()) {
            Some(properties) => (
                name.to_string(),
                Some(properties.get(name).ok_or_else(nowhere)?),
            ),
            None if schema.some("additionalProperties").is_some() => {
                (format!("[{name}]"), additional(schema))
            }
            None => return Err(nowhere()),
        };
        if self.path.is_empty() {
            self.root.clone_from(&part);
        } else if !part.starts_with('[') {
            self.path.push('.');
        }
        self.path.push_str(&part);
        self.schema = to;
        Ok(())
    }
}

/// A quoted name without its quotes and escapes.
fn unquoted(token: &str) -> Result<String, Problem> {
    let inner = (token.len() >= 2)
        .then(|| token.strip_prefix('\'')?.strip_suffix('\''))
        .flatten()
        .ok_or_else(|| problem!("expected single quoted string but got {token}"))?;
    let (mut out, mut wrong) = (String::new(), None);
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            out.push(letter);
            continue;
        }
        match letters.next() {
            Some('a') => out.push('\u{7}'),
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('v') => out.push('\u{b}'),
            Some(letter @ ('\'' | '\\')) => out.push(letter),
            Some('\n') => out.push_str("\\\n"),
            // the last of several is told of
            Some(other) => wrong = Some(other),
            None => out.push('\\'),
        }
    }
    match wrong {
        Some(letter) => Err(problem!(
            "invalid string literal: invalid escape char \\{letter}"
        )),
        None => Ok(out),
    }
}

/// Dots and brackets, what is in quotes, and what is between.
struct Tokens<'t>(&'t str);

impl<'t> Iterator for Tokens<'t> {
    type Item = &'t str;

    fn next(&mut self) -> Option<&'t str> {
        let bytes = self.0.as_bytes();
        let length = match bytes.first()? {
            b'\'' => (1..bytes.len())
                .find(|at| bytes[*at] == b'\'' && bytes[at - 1] != b'\\')
                .map_or(bytes.len(), |at| at + 1),
            b'.' | b'[' | b']' => 1,
            _ => bytes
                .iter()
                .position(|byte| matches!(byte, b'.' | b'[' | b']'))
                .unwrap_or(bytes.len()),
        };
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        Some(token)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_paths_lead() {
        let schema = json!({"properties": {"spec": {"properties": {"a.b": {"type": "string"}, "m": {"additionalProperties": {"type": "integer"}}, "x": {"additionalProperties": true}}}}});
        for (path, brackets, wanted) in [
            (".spec.m.any", false, Ok("spec.m[any]")),
            (".spec['a.b']", true, Ok("spec.a.b")),
            (".spec.x.y", true, Ok("spec.x[y]")),
            (".spec['a.b']", false, Err("array notation is not allowed")),
            (".spec.x.y.z", true, Err("does not refer to a valid field")),
            (".spec.other", true, Err("does not refer to a valid field")),
            ("spec", true, Err("expected [ or . but got: spec")),
            (".", true, Err("unexpected end of JSON path")),
            (
                ".spec[a]",
                true,
                Err("expected single quoted string but got a"),
            ),
            (".spec['m'", true, Err("unexpected end of JSON path")),
            (".spec['m'.", true, Err("expected ] but got .")),
            (
                ".spec['\\q']",
                true,
                Err("invalid string literal: invalid escape char \\q"),
            ),
        ] {
            let found = follow(path, &schema, brackets);
            match wanted {
                Ok(shown) => {
                    let found = found.unwrap();
                    assert_eq!(
                        (found.path.as_str(), found.root.as_str()),
                        (shown, "spec"),
                        "{path}"
                    );
                }
                Err(said) => assert_eq!(found.err().unwrap(), said, "{path}"),
            }
        }
    }
}
