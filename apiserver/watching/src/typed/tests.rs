//! Every field of every kind that is read typed, with odd values in it: what the server takes there, is read.

use std::{collections::HashSet, error::Error};

use serde_json::{Map, Value, json};
use skiff_api::machinery::schema::{Field, Node, Schema, Shape, conform, to_json};

use super::{READERS, Reads};

/// What somebody may write into a field, whatever it is; JSON as a text, as not all of it is kept apart otherwise.
const ODD: &[&str] = &[
    "null",
    "\"\"",
    "\"x\"",
    "\"0\"",
    "\"5\"",
    "\"-5\"",
    "\"50%\"",
    "\"1Gi\"",
    "\"0.1m\"",
    "\"1e3\"",
    "\".5\"",
    "\"eA==\"",
    "\"e\\nA==\"",
    "\"\\ud800\"",
    "\"\\u0000\"",
    "\"1m0.5s\"",
    "\"2020-01-02T03:04:05Z\"",
    "\"2020-01-02T03:04:05.123456789+14:00\"",
    "\"2020-01-02T03:04:05.000001Z\"",
    "\"0001-01-01T00:00:00Z\"",
    "\"0000-01-01T00:00:00Z\"",
    "\"9999-12-31T23:59:59-12:00\"",
    "\"2020-02-29T24:00:00Z\"",
    "\"2016-12-31T23:59:60Z\"",
    "0",
    "-0",
    "-1",
    "5",
    "1.5",
    "1e3",
    "1.0",
    "1e400",
    "2147483647",
    "2147483648",
    "-2147483649",
    "9223372036854775807",
    "9223372036854775808",
    "true",
    "false",
    "[]",
    "{}",
    "[null]",
    "[\"\"]",
    "[{}]",
    "{\"\":null}",
    "{\"a\":{}}",
    "{\"a\":\"\"}",
];

/// What leads from the object to a field.
#[derive(Clone)]
enum Step<'s> {
    Field(&'s str),
    Element,
    Value,
}

/// One kind, while its fields are looked at.
struct Walk<'s> {
    reader: &'s Reads,
    root: Node<'s>,
    /// Types whose fields were.
    seen: HashSet<&'s str>,
    steps: Vec<Step<'s>>,
    taken: usize,
    failed: Vec<String>,
}

impl<'s> Walk<'s> {
    fn fields(&mut self, node: Node<'s>) {
        self.each(node);
        if let Some(element) = node.element() {
            return self.below(Step::Element, element);
        }
        let Some(of) = node.as_type() else {
            if matches!(node.shape(), Some(Shape::Map(_))) {
                self.below(Step::Value, node.child("a").unwrap());
            }
            return;
        };
        // two types may read one kind; what is within both is the same
        if self.seen.insert(&of.name) || self.steps.len() <= 1 {
            // an object's own type is the server's
            let object = self.steps.is_empty();
            let is_type = |field: &Field| object && matches!(&*field.name, "kind" | "apiVersion");
            for field in of.fields.iter().filter(|field| !is_type(field)) {
                self.below(Step::Field(&field.name), node.child(&field.name).unwrap());
            }
        }
    }

    fn below(&mut self, step: Step<'s>, node: Node<'s>) {
        self.steps.push(step);
        self.fields(node);
        self.steps.pop();
    }

    /// Every odd value here.
    fn each(&mut self, node: Node<'s>) {
        // bytes are read as Go writes them; it reads them in other forms, too
        let as_sent = !matches!(node.shape(), Some(Shape::Bytes));
        for odd in ODD {
            let mut text = (*odd).to_owned();
            for step in self.steps.iter().rev() {
                text = match step {
                    Step::Field(name) => format!("{{\"{name}\":{text}}}"),
                    Step::Element => format!("[{text}]"),
                    Step::Value => format!("{{\"a\":{text}}}"),
                };
            }
            self.look(&text, as_sent);
        }
    }

    /// What the server would show of this, is read, and nothing of it is lost.
    fn look(&mut self, text: &str, as_sent: bool) {
        let Ok(mut value) = serde_json::from_str::<Value>(text) else {
            return;
        };
        if conform(&mut value, self.root).is_err() || !value.is_object() {
            return;
        }
        self.taken += 1;
        let stored = to_json(&value, Some(self.root));
        let shown = std::str::from_utf8(&stored).unwrap();
        for text in [shown].into_iter().chain(as_sent.then_some(text)) {
            if let Err(why) = self.is_read(text, &stored) {
                self.failed
                    .push(format!("{}: {text}: {why}", self.reader.kind));
            }
        }
    }

    /// A text is read, and what is written of it is stored as it was before.
    fn is_read(&self, text: &str, stored: &[u8]) -> Result<(), Box<dyn Error>> {
        let mut again: Value = serde_json::from_slice(&(self.reader.again)(text)?)?;
        conform(&mut again, self.root)?;
        let again = serde_json::from_slice(&to_json(&again, Some(self.root)))?;
        match is_kept(&serde_json::from_slice(stored)?, &again) {
            true => Ok(()),
            false => Err(format!("is read as {again}").into()),
        }
    }
}

/// Whether what is written of an object is what was read. Nothing may have become the zero value, for which a type says nothing else.
fn is_kept(read: &Value, written: &Value) -> bool {
    match (read, written) {
        (Value::Object(read), Value::Object(written)) => {
            let mut names = read.keys().chain(written.keys());
            let of = |map: &Map<_, _>, name: &str| map.get(name).cloned().unwrap_or(Value::Null);
            // what is written bears its type
            names.all(|name| {
                matches!(&**name, "kind" | "apiVersion")
                    || is_kept(&of(read, name), &of(written, name))
            })
        }
        (Value::Array(read), Value::Array(written)) if read.len() == written.len() => read
            .iter()
            .zip(written)
            .all(|(read, written)| is_kept(read, written)),
        (Value::Null, written) => is_zero(written),
        (Value::Array(read), written) if read.is_empty() => is_zero(written),
        (Value::Number(read), Value::Number(written)) => read.as_f64() == written.as_f64(),
        (read, written) => read == written,
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Object(map) => map.values().all(is_zero),
        other => [json!(null), json!(""), json!(0), json!(false), json!([])].contains(other),
    }
}

#[test]
fn whatever_the_server_takes_is_read() {
    let mut failed = Vec::new();
    let mut seen = HashSet::new();
    for reader in READERS {
        let root = Schema::builtin()
            .of_kind(reader.api_version, reader.kind)
            .unwrap_or_else(|| panic!("{} is no kind of the server's", reader.kind));
        let mut walk = Walk {
            reader,
            root,
            seen: std::mem::take(&mut seen),
            steps: Vec::new(),
            taken: 0,
            failed: Vec::new(),
        };
        walk.fields(root);
        assert!(walk.taken > 100, "{}: {}", reader.kind, walk.taken);
        seen = walk.seen;
        failed.append(&mut walk.failed);
    }
    let shown = &failed[..failed.len().min(40)];
    assert!(failed.is_empty(), "{}:\n{}", failed.len(), shown.join("\n"));
}
