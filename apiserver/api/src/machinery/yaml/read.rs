//! Reads YAML (and so JSON) into values, and remembers on which line each field stands.
//! Invariant: a document that cannot be read whole is an error with its line; a key that stands twice is one too, or told of; what aliases
//! and nesting make of a text is bounded.
//! Behaviour follows `sigs.k8s.io/yaml` and the messages of libyaml.

use crate::machinery::problem::{Problem, problem};
use crate::machinery::quote::go_quote;
use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

use super::{fault, scalar};

/// How deep nodes may stand in nodes: as deep as JSON that is read.
const DEEPEST: usize = 128;
/// How much more than the text itself aliases and anchors may make of it, in bytes: as much as a body may hold.
const REPEATED: usize = 3 * 1024 * 1024;
/// What a node takes besides its text.
const NODE: usize = 16;

/// One document of a stream.
#[derive(Debug, Default)]
pub struct Document {
    pub value: Value,
    /// The line (from 1) of each field, by its path: `spec.containers[0].name`.
    pub lines: HashMap<String, usize>,
}

struct Reader<'a> {
    events: Box<dyn Iterator<Item = Result<(Event<'a>, Span), Problem>> + 'a>,
    /// What anchors stand for, how many nodes that is, and how many bytes.
    anchors: HashMap<usize, (Value, usize, usize)>,
    lines: Option<HashMap<String, usize>>,
    /// What is said of keys that stand twice.
    repeated: Vec<String>,
    depth: usize,
    /// Of booleans only those of YAML 1.2 count: `yes` is a text.
    new_booleans: bool,
    /// Nodes in all, and those of them that aliases brought.
    nodes: usize,
    from_aliases: usize,
    /// Bytes that the nodes took so far, and that aliases and anchors may still take.
    took: usize,
    left: usize,
}

/// Reads all documents of a stream.
///
/// # Errors
/// The first mistake, worded as libyaml words it where it can tell (`yaml: line 4: did not find expected key`).
pub fn read(text: &str) -> Result<Vec<Document>, Problem> {
    read_stream(text, false).map_err(|e| fault::libyaml(text).map_or(e, Problem))
}

/// Reads all documents of a stream; of a key that stands twice the last value counts, as clients take it.
///
/// # Errors
/// As [`read`], but for keys that stand twice.
pub fn read_lax(text: &str) -> Result<Vec<Document>, Problem> {
    read_stream(text, true).map_err(|e| fault::libyaml(text).map_or(e, Problem))
}

/// Reads all documents of a stream as YAML 1.2 has booleans: `yes` and `off` are texts.
///
/// # Errors
/// As [`read_lax`].
pub fn read_new(text: &str) -> Result<Vec<Document>, Problem> {
    let mut reader = Reader::new(text);
    reader.new_booleans = true;
    read_all(reader, true).map_err(|e| fault::libyaml(text).map_or(e, Problem))
}

/// Reads the first document of a stream, null when there is none, and tells of keys that stand twice, whose last value counts.
///
/// # Errors
/// As [`read`].
pub fn read_first(text: &str) -> Result<(Value, Vec<String>), Problem> {
    let mut reader = Reader::new(text);
    reader.lines = None;
    let first = loop {
        match reader.next() {
            Ok((Event::StreamEnd, _)) => break Ok(Value::Null),
            Ok((Event::DocumentStart(..), _)) => {
                break reader
                    .next()
                    .and_then(|first| reader.node(first, &mut String::new()));
            }
            Ok(_) => {}
            Err(error) => break Err(error),
        }
    };
    let first = first.map_err(|e| fault::libyaml(text).map_or(e, Problem))?;
    Ok((first, reader.repeated))
}

fn read_stream(text: &str, lax: bool) -> Result<Vec<Document>, Problem> {
    if let Some(why) = fault::of_tabs(text) {
        return Err(Problem(why));
    }
    read_all(Reader::new(text), lax)
}

fn read_all(mut reader: Reader, lax: bool) -> Result<Vec<Document>, Problem> {
    let mut out = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(out),
            (Event::DocumentStart(..), _) => {
                let first = reader.next()?;
                let value = reader.node(first, &mut String::new())?;
                if !reader.repeated.is_empty() && !lax {
                    return Err(problem!(
                        "yaml: unmarshal errors:\n  {}",
                        reader.repeated.join("\n  ")
                    ));
                }
                out.push(Document {
                    value,
                    lines: reader.lines.replace(HashMap::new()).unwrap_or_default(),
                });
                reader.anchors.clear();
            }
            _ => {}
        }
    }
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Reader<'a> {
        let mut options = Options::default();
        (
            options.emit_comments,
            options.flow_nesting_limit,
            options.block_nesting_limit,
        ) = (false, DEEPEST, DEEPEST);
        let events = Parser::new_from_str_with_options(text, options)
            .map(|r| r.map_err(|e| problem!("yaml: line {}: {}", e.marker().line(), e.info())))
            .filter(|r| !matches!(r, Ok((Event::Comment(..), _))));
        let (anchors, lines, left) = (
            HashMap::new(),
            Some(HashMap::new()),
            text.len().saturating_mul(NODE).saturating_add(REPEATED),
        );
        Reader {
            events: Box::new(events),
            anchors,
            lines,
            repeated: Vec::new(),
            depth: 0,
            new_booleans: false,
            nodes: 0,
            from_aliases: 0,
            took: 0,
            left,
        }
    }

    /// Counts nodes; few aliases may not grow into very many nodes.
    fn count(&mut self, nodes: usize, from_alias: bool) -> Result<(), Problem> {
        self.nodes += nodes;
        self.from_aliases += if from_alias { nodes } else { 0 };
        let share = match self.nodes {
            0..=400_000 => 0.99,
            4_000_000.. => 0.1,
            between => 0.99 - 0.89 * (between - 400_000) as f64 / 3_600_000.0,
        };
        if self.nodes > 100
            && self.from_aliases > 1000
            && self.from_aliases as f64 / self.nodes as f64 > share
        {
            return Err("yaml: document contains excessive aliasing".into());
        }
        Ok(())
    }

    /// Counts bytes that stand a second time.
    fn repeat(&mut self, bytes: usize) -> Result<(), Problem> {
        self.left = self
            .left
            .checked_sub(bytes)
            .ok_or("yaml: document contains excessive aliasing")?;
        Ok(())
    }

    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        self.events
            .next()
            .unwrap_or_else(|| Ok((Event::StreamEnd, Span::default())))
    }

    fn node(
        &mut self,
        (event, span): (Event<'a>, Span),
        path: &mut String,
    ) -> Result<Value, Problem> {
        let (before, took) = (self.nodes, self.took);
        self.count(1, false)?;
        self.took += NODE;
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err(problem!("yaml: exceeded max depth of {DEEPEST}"));
        }
        let (anchor, value) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.took += text.len();
                let value = match (tag, style) {
                    (Some(tag), _) => {
                        let (handle, suffix) = tag.parts();
                        self.tagged(&format!("{handle}{suffix}"), text.into_owned())?
                    }
                    (None, ScalarStyle::Plain) => self.plain(&text)?,
                    (None, _) => Value::String(text.into_owned()),
                };
                (anchor, value)
            }
            Event::SequenceStart(_, anchor, _) => (anchor, self.sequence(path)?),
            Event::MappingStart(_, anchor, _) => (anchor, self.mapping(path)?),
            Event::Alias(id) => {
                let known = self
                    .anchors
                    .get(&id)
                    .map(|(_, nodes, bytes)| (*nodes, *bytes));
                let (nodes, bytes) = known.ok_or_else(|| {
                    problem!(
                        "yaml: line {}: unknown anchor referenced",
                        span.start.line()
                    )
                })?;
                self.count(nodes, true)?;
                self.repeat(bytes)?;
                self.took += bytes;
                self.depth -= 1;
                return Ok(self
                    .anchors
                    .get(&id)
                    .map(|(value, ..)| value.clone())
                    .unwrap_or_default());
            }
            other => {
                return Err(problem!(
                    "yaml: line {}: unexpected {other:?}",
                    span.start.line()
                ));
            }
        };
        self.depth -= 1;
        if anchor != 0 {
            let bytes = self.took - took;
            self.repeat(bytes)?;
            self.anchors
                .insert(anchor, (value.clone(), self.nodes - before, bytes));
        }
        Ok(value)
    }

    /// A value that says by a tag what it is.
    fn tagged(&self, tag: &str, text: String) -> Result<Value, Problem> {
        let of_yaml = tag.strip_prefix("tag:yaml.org,2002:");
        let tag = match of_yaml {
            Some("binary") => return Ok(Value::String(binary(&text)?)),
            Some(tag @ ("bool" | "int" | "float" | "null" | "timestamp")) => tag,
            _ => return Ok(Value::String(text)),
        };
        match scalar::resolve(&text).tag() {
            found if found == tag || (found, tag) == ("int", "float") => self.plain(&text),
            found => Err(problem!(
                "yaml: cannot decode !!{found} `{text}` as a !!{tag}"
            )),
        }
    }

    /// A value without quotes.
    fn plain(&self, text: &str) -> Result<Value, Problem> {
        match scalar::resolve(text) {
            scalar::Meaning::Odd => Err(problem!("json: unsupported value: {}", odd(text))),
            scalar::Meaning::Bool(_) if self.new_booleans && !is_new_boolean(text) => {
                Ok(Value::String(text.into()))
            }
            _ => Ok(scalar::value(text)),
        }
    }

    /// Notes where the value at `path` begins, the first time.
    fn note(&mut self, path: &str, line: usize) {
        if let Some(lines) = &mut self.lines {
            lines.entry(path.to_string()).or_insert(line);
        }
    }

    fn sequence(&mut self, path: &mut String) -> Result<Value, Problem> {
        let mut items = Vec::new();
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::SequenceEnd) {
                return Ok(Value::Array(items));
            }
            let length = path.len();
            path.push_str(&format!("[{}]", items.len()));
            self.note(path, next.1.start.line());
            items.push(self.node(next, path)?);
            path.truncate(length);
        }
    }

    fn mapping(&mut self, path: &mut String) -> Result<Value, Problem> {
        let (mut map, mut merged) = (Map::new(), Vec::new());
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::MappingEnd) {
                break;
            }
            let line = next.1.start.line();
            let is_merge = matches!(&next.0, Event::Scalar(t, ScalarStyle::Plain, ..) if scalar::resolve(t) == scalar::Meaning::Merge);
            let key = key_text(&next.0, self.new_booleans)
                .ok_or_else(|| problem!("yaml: line {line}: a mapping's key must be a text"))?;
            let length = path.len();
            if !path.is_empty() {
                path.push('.');
            }
            path.push_str(&key);
            self.took += NODE + key.len();
            self.note(path, line);
            let value_event = self.next()?;
            let value = self.node(value_event, path)?;
            path.truncate(length);
            if is_merge {
                merged.push(value);
            } else if map.insert(key.clone(), value).is_some() {
                self.repeated.push(format!(
                    "line {line}: key {} already set in map",
                    go_quote(&key)
                ));
            }
        }
        for value in merged {
            let sources = if let Value::Array(list) = value {
                list
            } else {
                vec![value]
            };
            for source in sources {
                let Value::Object(fields) = source else {
                    return Err(
                        "yaml: map merge requires map or sequence of maps as the value".into(),
                    );
                };
                for (k, v) in fields {
                    map.entry(k).or_insert(v);
                }
            }
        }
        Ok(Value::Object(map))
    }
}

/// A number that JSON has not, as Go writes it.
fn odd(text: &str) -> &'static str {
    match text.to_ascii_lowercase().as_str() {
        ".nan" => "NaN",
        negative if negative.starts_with('-') => "-Inf",
        _ => "+Inf",
    }
}

/// Whether a boolean is one in YAML of version 1.2, too.
fn is_new_boolean(text: &str) -> bool {
    matches!(text, "true" | "True" | "TRUE" | "false" | "False" | "FALSE")
}

/// What `!!binary` stands for.
fn binary(text: &str) -> Result<String, Problem> {
    use base64::Engine;
    let packed: String = text.split_whitespace().collect();
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(packed)
        .map_err(|_| Problem::from("yaml: !!binary value contains invalid base64 data"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Keys are texts; a number or a boolean becomes its text. `y` is one only where booleans are not new.
fn key_text(event: &Event, new_booleans: bool) -> Option<String> {
    let Event::Scalar(text, style, ..) = event else {
        return None;
    };
    let is_text = *style != ScalarStyle::Plain
        || new_booleans
            && matches!(scalar::resolve(text), scalar::Meaning::Bool(_))
            && !is_new_boolean(text);
    Some(match is_text {
        true => text.to_string(),
        false => scalar::key(text),
    })
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
mod tests;
