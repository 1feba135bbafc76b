//! Documents as they were sent: their encoding, their syntax, and what strict reading has against them before anybody knows what they are to be.
//!
//! Follows `staging/src/k8s.io/apimachinery/pkg/runtime/serializer/{json,protobuf,yaml}` and the texts of their errors.

use std::collections::HashSet;

use serde_json::Value;
use skiff_api::machinery::quote::GoQuoted;
use skiff_api::machinery::{
    schema::{
        MOST_REMARKS, Node, Parsed, Place, SyntaxError, mark, parse_json, parse_json_in_part,
        walk_paths,
    },
    status::Status,
    yaml,
};
use skiff_protobuf as protobuf;

use crate::encoding::Encoding;

const NO_JSON: &str = "couldn't get version/kind; json parse error: ";

/// A body whose encoding could not be read, in the words of upstream's decoders.
#[derive(thiserror::Error, Debug)]
#[error("{0}")]
pub struct Misread(String);

impl Misread {
    fn of(error: impl ToString) -> Misread {
        Misread(error.to_string())
    }

    /// What is wrong with it as JSON, whatever was looked for in it.
    pub fn as_json(&self) -> &str {
        self.0.strip_prefix(NO_JSON).unwrap_or(&self.0)
    }

    pub fn status(&self) -> Status {
        Status::bad_request(self.to_string())
    }
}

/// An object in protobuf, whose type is at `node`.
fn parse_protobuf(data: &[u8], node: Node) -> Result<Value, Misread> {
    let envelope = protobuf::unwrap(data).map_err(Misread::of)?;
    let name = node.as_type().map_or("", |of| &*of.name);
    let read = protobuf::decode(envelope.raw, name).ok_or_else(|| {
        Misread(format!(
            "no protobuf form of {name} is known",
            name = GoQuoted(&name)
        ))
    })?;
    let mut value = read.map_err(Misread::of)?;
    for (field, given) in [
        ("apiVersion", envelope.api_version),
        ("kind", envelope.kind),
    ] {
        if !given.is_empty() {
            value[field] = given.into();
        }
    }
    Ok(value)
}

/// A document as it was sent, and what strict reading has against it before its type is looked at.
#[derive(Default)]
pub struct Document<'t> {
    pub value: Value,
    /// Paths of keys that stand twice.
    duplicates: Vec<String>,
    /// Whole sentences.
    said: Vec<String>,
    /// The JSON in whose order mistakes are told; other encodings are sorted before they are read.
    pub json: Option<&'t [u8]>,
    /// Something in it was nested too deeply, and left out.
    pub cut: bool,
}

impl<'t> Document<'t> {
    fn of_json(text: &'t [u8], parsed: Result<Parsed, SyntaxError>) -> Result<Self, Misread> {
        let parsed = parsed.map_err(|error| Misread(format!("{NO_JSON}{error}")))?;
        Ok(Document {
            value: parsed.value,
            duplicates: parsed.duplicates,
            said: Vec::new(),
            json: Some(text),
            cut: parsed.cut,
        })
    }
}

impl Document<'_> {
    /// A value that no text stands behind.
    pub fn of(value: Value) -> Self {
        Document {
            value,
            ..Document::default()
        }
    }

    /// The same, and what strict reading had against what it was made of.
    pub fn with_remarks(value: Value, remarks: Vec<String>) -> Self {
        Document {
            value,
            said: remarks,
            ..Document::default()
        }
    }

    /// A value that this JSON shows.
    pub fn shown_as(value: Value, json: &[u8]) -> Document<'_> {
        Document {
            value,
            json: Some(json),
            ..Document::default()
        }
    }

    /// What strict reading says, type or no type: keys that stand twice.
    pub fn remarks(&self) -> Vec<String> {
        self.said
            .iter()
            .cloned()
            .chain(
                self.duplicates
                    .iter()
                    .map(|path| format!("duplicate field {path}", path = GoQuoted(&path))),
            )
            .collect()
    }

    /// The same with fields that the type does not have, in the order of the document.
    pub fn all_remarks(&self, unknown: &[String]) -> Vec<String> {
        let name = |path: &str| format!("unknown field {path}", path = GoQuoted(&path));
        let Some(text) = self
            .json
            .filter(|_| unknown.len() + self.duplicates.len() > 1)
        else {
            return self
                .remarks()
                .into_iter()
                .chain(unknown.iter().map(|path| name(path)))
                .take(MOST_REMARKS)
                .collect();
        };
        let unknown: HashSet<u64> = unknown.iter().map(|path| mark(path)).collect();
        let mut told: HashSet<(u64, bool)> = HashSet::new();
        let mut remarks = Vec::new();
        // what is within an unknown field is not looked at
        let mut within: Option<usize> = None;
        walk_paths(text, &mut |place| {
            let Place { path, mark, .. } = place;
            within = within.filter(|depth| place.depth > *depth);
            if place.again && within.is_none() && told.insert((mark, true)) {
                remarks.push(format!("duplicate field {path}", path = GoQuoted(&path)));
            }
            if unknown.contains(&mark) {
                if told.insert((mark, false)) {
                    remarks.push(name(path));
                }
                within = within.or(Some(place.depth));
            }
            remarks.len() < MOST_REMARKS
        });
        remarks.truncate(MOST_REMARKS);
        remarks
    }
}

/// A body that should hold an object whose type is at `node`.
pub fn parse_object<'t>(
    data: &'t [u8],
    kind: Encoding,
    node: Option<Node>,
) -> Result<Document<'t>, Misread> {
    match (kind, node) {
        (Encoding::Protobuf, Some(node)) => parse_protobuf(data, node).map(Document::of),
        // what is too deep may be in a place where its type is refused, or be left out
        (Encoding::Json, _) => Document::of_json(data, parse_json_in_part(data)),
        _ => parse(data, kind),
    }
}

/// A document as text.
pub fn parse(text: &[u8], kind: Encoding) -> Result<Document<'_>, Misread> {
    match kind {
        Encoding::Json => Document::of_json(text, parse_json(text)),
        Encoding::Protobuf => Err(Misread("protobuf is no text".into())),
        Encoding::Yaml => parse_yaml(text),
    }
}

/// YAML, most of which is JSON: what clients apply was JSON before they sent it.
fn parse_yaml(text: &[u8]) -> Result<Document<'_>, Misread> {
    if text.trim_ascii_start().starts_with(b"{")
        && let Ok(parsed) = parse_json(text)
        && parsed.duplicates.is_empty()
        && !holds_floats(&parsed.value)
    {
        return Ok(Document {
            value: parsed.value,
            duplicates: Vec::new(),
            said: Vec::new(),
            json: None,
            cut: false,
        });
    }
    let text = std::str::from_utf8(text)
        .map_err(|_| Misread("yaml: invalid leading UTF-8 octet".into()))?;
    let (value, repeated) = yaml::read_first(text).map_err(Misread::of)?;
    let said = if repeated.is_empty() {
        Vec::new()
    } else {
        vec![format!(
            "yaml: unmarshal errors:\n  {}",
            repeated.join("\n  ")
        )]
    };
    Ok(Document {
        value,
        duplicates: Vec::new(),
        said,
        json: None,
        cut: false,
    })
}

/// What YAML makes of them is another matter than what JSON does: `2.0` is 2.
fn holds_floats(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.is_f64(),
        Value::Array(items) => items.iter().any(holds_floats),
        Value::Object(map) => map.values().any(holds_floats),
        _ => false,
    }
}

/// The first bytes of a body that was not understood, as upstream shows them.
pub fn shown(text: &[u8]) -> String {
    const MOST: usize = 30;
    let start = &text[..text.len().min(MOST)];
    let more = if text.len() > MOST { " ..." } else { "" };
    match text.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(start)),
        Some(_) => format!("{}{more}", hex::encode(start)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_floats_of_yaml_are_integers_even_where_it_is_json() {
        let text = br#"{"a": 1.0, "b": [2.5, 1e3]}"#;
        let read = |kind| parse(text, kind).map(|document| document.value.to_string());
        assert_eq!(
            read(Encoding::Yaml).ok().as_deref(),
            Some(r#"{"a":1,"b":[2.5,1000]}"#)
        );
        assert_eq!(
            read(Encoding::Json).ok().as_deref(),
            Some(r#"{"a":1.0,"b":[2.5,1000.0]}"#)
        );
    }
}
