//! YAML text into values, bounded by the text's size: a request's body, read as `sigs.k8s.io/yaml` reads it.
//!
//! Invariant: time and memory grow with the text and no faster: how deep collections stand within each other is bounded, and so is what aliases
//! repeat. A key that stands twice is told, and the last one counts. One document; what follows it is not read.
//! Follows `sigs.k8s.io/yaml` (YAMLToJSON) over `go.yaml.in/yaml/v2`.

pub mod fault;
pub mod scalar;

use std::collections::HashMap;

use granit_parser::{Event, Options, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

/// How deep collections may stand within each other: as deep as JSON that is read.
const DEEPEST: usize = 128;
/// How much more than the text itself aliases may make of it: as much as a body may hold.
const REPEATED: usize = 3 * 1024 * 1024;
/// What a value takes besides its text.
const NODE: usize = 16;

/// A document, and the paths of keys that it holds twice.
#[derive(Debug, Default, PartialEq)]
pub struct Document {
    pub value: Value,
    pub duplicates: Vec<String>,
}

struct Reader<'t> {
    events: Box<dyn Iterator<Item = Result<(Event<'t>, Span), String>> + 't>,
    /// Values that aliases may repeat, and what one repetition takes.
    anchors: HashMap<usize, (Value, usize)>,
    path: Vec<Segment>,
    duplicates: Vec<String>,
    /// What may still be made, in bytes.
    left: usize,
}

enum Segment {
    Key(String),
    Item(usize),
}

/// Reads the first document of a text. The error is worded as libyaml's where it can tell.
pub fn read(text: &str) -> Result<Document, String> {
    read_bounded(text).map_err(|error| fault::libyaml(text).unwrap_or(error))
}

fn read_bounded(text: &str) -> Result<Document, String> {
    let mut options = Options::default();
    (options.emit_comments, options.flow_nesting_limit, options.block_nesting_limit) = (false, DEEPEST, DEEPEST);
    let events =
        Parser::new_from_str_with_options(text, options).map(|read| read.map_err(|error| format!("yaml: line {}: {}", error.marker().line(), error.info())));
    let events = events.filter(|read| !matches!(read, Ok((Event::Comment(..), _))));
    // a value takes its own place once, a second time when it bears an anchor
    let left = text.len().saturating_mul(NODE).saturating_add(REPEATED);
    let mut reader = Reader { events: Box::new(events), anchors: HashMap::new(), path: Vec::new(), duplicates: Vec::new(), left };
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(Document::default()),
            (Event::DocumentStart(..), _) => {
                let first = reader.next()?;
                let (value, _) = reader.node(first)?;
                return Ok(Document { value, duplicates: reader.duplicates });
            }
            _ => {}
        }
    }
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), String> {
        self.events.next().unwrap_or_else(|| Ok((Event::StreamEnd, Span::default())))
    }

    fn take(&mut self, size: usize) -> Result<(), String> {
        self.left = self.left.checked_sub(size).ok_or("yaml: document contains excessive aliasing")?;
        Ok(())
    }

    /// A value and what it takes.
    fn node(&mut self, (event, span): (Event<'t>, Span)) -> Result<(Value, usize), String> {
        let line = span.start.line();
        if self.path.len() > DEEPEST {
            return Err(format!("yaml: line {line}: exceeded max depth of {DEEPEST}"));
        }
        let (anchor, value, size) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let text_by_tag = tag.is_some_and(|tag| tag.to_string().ends_with("str"));
                let size = NODE + text.len();
                let value = if style == ScalarStyle::Plain && !text_by_tag { scalar::value(&text) } else { Value::String(text.into_owned()) };
                (anchor, value, size)
            }
            Event::SequenceStart(_, anchor, _) => {
                let (value, size) = self.sequence()?;
                (anchor, value, size)
            }
            Event::MappingStart(_, anchor, _) => {
                let (value, size) = self.mapping()?;
                (anchor, value, size)
            }
            Event::Alias(id) => {
                let size = self.anchors.get(&id).map(|(_, size)| *size).ok_or_else(|| format!("yaml: line {line}: unknown anchor referenced"))?;
                self.take(size)?;
                return Ok(self.anchors.get(&id).cloned().unwrap_or_default());
            }
            other => return Err(format!("yaml: line {line}: unexpected {other:?}")),
        };
        if anchor != 0 {
            self.take(size)?;
            self.anchors.insert(anchor, (value.clone(), size));
        }
        Ok((value, size))
    }

    fn sequence(&mut self) -> Result<(Value, usize), String> {
        let (mut items, mut size) = (Vec::new(), NODE);
        loop {
            let next = self.next()?;
            if matches!(next.0, Event::SequenceEnd) {
                return Ok((Value::Array(items), size));
            }
            self.path.push(Segment::Item(items.len()));
            let (value, took) = self.node(next)?;
            self.path.pop();
            items.push(value);
            size += took;
        }
    }

    fn mapping(&mut self) -> Result<(Value, usize), String> {
        let (mut map, mut merged, mut size) = (Map::new(), Vec::new(), NODE);
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let Event::Scalar(text, style, ..) = event else { return Err(format!("yaml: line {}: a mapping's key must be a text", span.start.line())) };
            let plain = style == ScalarStyle::Plain;
            let merge = plain && scalar::resolve(&text) == scalar::Meaning::Merge;
            let key = if plain { scalar::key(&text) } else { text.into_owned() };
            size += NODE + key.len();
            self.path.push(Segment::Key(key.clone()));
            let value = self.next()?;
            let (value, took) = self.node(value)?;
            size += took;
            if merge {
                merged.push(value);
            } else if map.insert(key, value).is_some() {
                self.duplicates.push(shown(&self.path));
            }
            self.path.pop();
        }
        for source in merged.into_iter().flat_map(|value| if let Value::Array(list) = value { list } else { vec![value] }) {
            let Value::Object(fields) = source else { return Err("yaml: map merge requires map or sequence of maps as the value".into()) };
            for (key, value) in fields {
                map.entry(key).or_insert(value);
            }
        }
        Ok((Value::Object(map), size))
    }
}

/// `spec.containers[0].name`.
fn shown(path: &[Segment]) -> String {
    let mut out = String::new();
    for segment in path {
        match segment {
            Segment::Item(index) => out.push_str(&format!("[{index}]")),
            Segment::Key(key) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(key);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    #[test]
    fn documents() {
        let read = |text: &str| read(text).unwrap();
        assert_eq!(read("a: 1\nb:\n- x: yes\n  w: \"no\"\n---\nc: 1\n").value, json!({"a": 1, "b": [{"x": true, "w": "no"}]}));
        assert_eq!(read("{\"a\": [1, 2.5, null, \"x\\u00e9\"]}").value, json!({"a": [1, 2.5, null, "xé"]}));
        assert_eq!(read("base: &b {x: 1, w: 2}\nsub:\n  <<: *b\n  x: 3\n").value["sub"], json!({"x": 3, "w": 2}));
        assert_eq!(read("1: a\ntrue: b\n!!str 2: c\nd: !!str 3\n").value, json!({"1": "a", "true": "b", "2": "c", "d": "3"}));
        assert_eq!(read("").value, Value::Null);
        let twice = read("a: 1\nb:\n- c: 1\n  c: 2\na: 2\n");
        assert_eq!((twice.value, twice.duplicates), (json!({"a": 2, "b": [{"c": 2}]}), vec!["b[0].c".to_owned(), "a".to_owned()]));
    }

    #[test]
    fn mistakes() {
        assert_eq!(read("a: b\n c: d\n").unwrap_err(), "yaml: line 2: mapping values are not allowed in this context");
        assert_eq!(read("a: b: c").unwrap_err(), "yaml: mapping values are not allowed in this context");
        assert_eq!(read("a:\n  b: 1\n c: 1\n").unwrap_err(), "yaml: line 2: did not find expected key");
        assert!(read("a: *nothing").unwrap_err().contains("unknown anchor"), "{:?}", read("a: *nothing"));
    }

    /// What took 25 seconds, or all memory.
    #[test]
    fn text_that_was_made_to_be_dear() {
        let many = 1_500_000;
        let bomb = {
            let mut text = String::from("a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n");
            for level in 1..30 {
                let before = format!("*a{}", level - 1);
                text += &format!("a{level}: &a{level} [{}]\n", vec![before; 10].join(","));
            }
            text
        };
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(1_000_000), vec!["*a"; 100_000].join(","));
        let nested = format!("{}x{}", (0..120).map(|n| format!("&n{n} [")).collect::<String>(), "]".repeat(120)).replace('x', &"y,".repeat(500_000));
        for (what, text) in [
            ("brackets", "[".repeat(many)),
            ("braces", "{".repeat(many)),
            ("pairs", "[]".repeat(many / 2)),
            ("dashes", "- ".repeat(many / 2)),
            ("questions", "? ".repeat(many / 2)),
            ("colons", ": ".repeat(many / 2)),
            ("aliases", bomb),
            ("a long alias", long),
            ("anchors in anchors", nested),
            ("anchors", "&a ".repeat(many / 3)),
            ("tags", "!a ".repeat(many / 3)),
            ("quotes", "\"".repeat(many)),
            ("comments", "#\n".repeat(many / 2)),
            ("documents", "---\n".repeat(many / 4)),
            ("directives", "%YAML 1.1\n".repeat(many / 10)),
            ("keys", (0..many / 12).map(|n| format!("k{n}: 1\n")).collect()),
            ("flow keys", format!("{{{}}}", (0..many / 12).map(|n| format!("k{n}: 1,")).collect::<String>())),
            ("indents", (0..1_700).map(|n| format!("{}a:\n", " ".repeat(n))).collect()),
            ("block text", format!("a: |\n{}", " b\n".repeat(many / 3))),
            ("folded text", format!("a: >\n{}", " b\n\n".repeat(many / 4))),
            ("plain lines", format!("a: {}", "b\n ".repeat(many / 3))),
        ] {
            let begun = Instant::now();
            let _ = read(&text);
            // a debug build on a busy machine: what grows with the square took minutes
            assert!(begun.elapsed() < Duration::from_secs(20), "{what}: {:?}", begun.elapsed());
        }
    }

    #[test]
    fn what_is_refused_for_its_size() {
        assert!(read(&"[".repeat(1_000_000)).is_err());
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c]\n\
                    e: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e]\n";
        assert_eq!(read(bomb).unwrap_err(), "yaml: document contains excessive aliasing");
    }
}
