//! Reads YAML (and so JSON) into values, and remembers on which line each field stands.
//! Invariant: a document that cannot be read whole is an error with its line; a key that stands twice is one too.
//! Behaviour follows `sigs.k8s.io/yaml` and the messages of libyaml.

use super::{fault, scalar};
use granit_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// One document of a stream.
#[derive(Debug, Default)]
pub struct Document {
    pub value: Value,
    /// The line (from 1) of each field, by its path: `spec.containers[0].name`.
    pub lines: HashMap<String, usize>,
}

struct Reader<'a> {
    events: Box<dyn Iterator<Item = Result<(Event<'a>, Span), String>> + 'a>,
    anchors: HashMap<usize, Value>,
    lines: HashMap<String, usize>,
}

/// Reads all documents of a stream.
///
/// # Errors
/// The first mistake, worded as libyaml words it where it can tell (`yaml: line 4: did not find expected key`).
pub fn read(text: &str) -> Result<Vec<Document>, String> {
    read_stream(text).map_err(|e| fault::libyaml(text).unwrap_or(e))
}

fn read_stream(text: &str) -> Result<Vec<Document>, String> {
    let events = Parser::new_from_str(text)
        .map(|r| r.map_err(|e| format!("yaml: line {}: {}", e.marker().line(), e.info())))
        .filter(|r| !matches!(r, Ok((Event::Comment(..), _))));
    let mut reader = Reader { events: Box::new(events), anchors: HashMap::new(), lines: HashMap::new() };
    let mut out = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(out),
            (Event::DocumentStart(..), _) => {
                let first = reader.next()?;
                let value = reader.node(first, &mut String::new())?;
                out.push(Document { value, lines: std::mem::take(&mut reader.lines) });
                reader.anchors.clear();
            }
            _ => {}
        }
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), String> {
        self.events.next().unwrap_or_else(|| Ok((Event::StreamEnd, Span::default())))
    }

    fn node(&mut self, (event, span): (Event<'a>, Span), path: &mut String) -> Result<Value, String> {
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let forced_text = tag.is_some_and(|t| t.to_string().ends_with("str"));
                let plain = style == ScalarStyle::Plain && !forced_text;
                (anchor, if plain { scalar::value(&text) } else { Value::String(text.into_owned()) })
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence(path)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping(path)?),
            Event::Alias(id) => return self.anchors.get(&id).cloned().ok_or_else(|| format!("yaml: line {}: unknown anchor referenced", span.start.line())),
            other => return Err(format!("yaml: line {}: unexpected {other:?}", span.start.line())),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, value.clone());
        }
        Ok(value)
    }

    fn sequence(&mut self, path: &mut String) -> Result<Value, String> {
        let mut items = Vec::new();
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            let length = path.len();
            path.push_str(&format!("[{}]", items.len()));
            self.lines.insert(path.clone(), next.1.start.line());
            items.push(self.node(next, path)?);
            path.truncate(length);
        }
    }

    fn mapping(&mut self, path: &mut String) -> Result<Value, String> {
        let (mut map, mut merged) = (Map::new(), Vec::new());
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::MappingEnd) {
                break;
            }
            let line = next.1.start.line();
            let is_merge = matches!(&next.0, Event::Scalar(t, ScalarStyle::Plain, ..) if scalar::resolve(t) == scalar::Meaning::Merge);
            let key = key_text(&next.0).ok_or_else(|| format!("yaml: line {line}: a mapping's key must be a text"))?;
            let length = path.len();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&key);
            self.lines.entry(path.clone()).or_insert(line);
            let value_event = self.next()?;
            let value = self.node(value_event, path)?;
            path.truncate(length);
            if is_merge {
                merged.push(value);
            } else if map.insert(key.clone(), value).is_some() {
                return Err(format!("yaml: unmarshal errors:\n  line {line}: key {} already set in map", crate::error::quote(&key)));
            }
        }
        for value in merged {
            let sources = if let Value::Array(list) = value { list } else { vec![value] };
            for source in sources {
                let Value::Object(fields) = source else { return Err("yaml: map merge requires map or sequence of maps as the value".into()) };
                for (k, v) in fields {
                    map.entry(k).or_insert(v);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// Keys are texts; a number or a boolean becomes its text.
fn key_text(event: &Event) -> Option<String> {
    let Event::Scalar(text, style, ..) = event else { return None };
    Some(if *style == ScalarStyle::Plain { scalar::key(text) } else { text.to_string() })
}

/// The line of a field, or of the nearest field above it that has one.
pub fn nearest_line(lines: &HashMap<String, usize>, path: &str) -> Option<usize> {
    let mut path = path;
    loop {
        if let Some(n) = lines.get(path) {
            return Some(*n);
        }
        path = &path[..path.rfind(['.', '['])?];
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn documents_and_lines() {
        let docs = read("a: 1\nb:\n  - x: yes\n    w: \"no\"\n---\n# nothing\n---\n{c: [1, 2], d: &k {e: f}, g: *k}\n").unwrap();
        assert_eq!(docs[0].value, json!({"a": 1, "b": [{"x": true, "w": "no"}]}));
        assert_eq!(docs[0].lines["b[0].w"], 4);
        assert_eq!(docs.last().unwrap().value, json!({"c": [1, 2], "d": {"e": "f"}, "g": {"e": "f"}}));
        assert_eq!(nearest_line(&docs[0].lines, "b[0].z.q"), Some(3));
    }

    #[test]
    fn merges_and_mistakes() {
        assert_eq!(read("base: &b {x: 1, w: 2}\nsub:\n  <<: *b\n  x: 3\n").unwrap()[0].value["sub"], json!({"x": 3, "w": 2}));
        assert!(read("a: 1\na: 2\n").unwrap_err().contains("line 2: key \"a\" already set in map"));
        assert_eq!(read("apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: bad\n data:\n  a: b\n").unwrap_err(), "yaml: line 4: did not find expected key");
    }
}
